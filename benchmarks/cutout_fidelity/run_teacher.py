"""Many cutouts with a teacher as the truth: its core forces on the cutout against those on the whole parent.

    python benchmarks/cutout_fidelity/run_teacher.py [--minutes 10] [--relax] PARENT [PARENT ...]

A teacher is no truth about electrons: it sees as far as its messages reach, and no further. But it is cheap, so that
radius, buffer and relaxation can be scanned over every atom of a parent. Rows are appended to ``results/teacher.csv``;
those that are there are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from jobs import TEACHERS, UNLIMITED, Job, cut, read_parent

from aiida_pyacemaker.science.cutout.label_geometry import LabelGeometry, RejectedCutoutError
from aiida_pyacemaker.science.frames import SHELL_CORE

RESULTS = Path(__file__).resolve().parent / 'results' / 'teacher.csv'
CORES = (0.0, 2.8, 4.0, 5.0)
BUFFERS = (1.0, 2.0, 3.0, 4.0)
STRIDE = 9  # every ninth atom is an epicentre
COLUMNS = (
    'parent',
    'atom',
    'core',
    'buffer',
    'limit',
    'relaxed',
    'n_atoms',
    'n_core',
    'odd',
    'rms',
    'largest',
    'centre',
)


def plan(parent: str, relax: bool) -> Iterator[tuple[Job, str]]:
    """Yield jobs and what is relaxed: nothing, the caps, caps and buffer."""
    ways = ('caps', 'buffer') if relax else ('nothing',)
    for atom in range(0, len(read_parent(parent)), STRIDE):
        for core in (0.0, 4.0) if relax else CORES:
            for buffer, limit in [(3.0, 130)] if relax else [(3.0, 130), *((value, UNLIMITED) for value in BUFFERS)]:
                for way in ways:
                    config = {
                        'core_radius': core,
                        'buffer_radius': buffer,
                        'max_label_atoms': limit,
                        'enable_pre_relaxation': way != 'nothing',
                        'relax_buffer': way == 'buffer',
                    }
                    yield Job(parent=parent, atom=atom, label='teacher', config=config), way


def forces_of(atoms: Atoms) -> np.ndarray:
    """Return (n, 3) forces in eV/Å of one member of the committee."""
    copy = atoms.copy()
    copy.calc = calculator()
    return np.asarray(copy.get_forces())


def calculator() -> object:
    """Return one member of the example's committee, loaded once."""
    if not hasattr(calculator, 'loaded'):
        from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

        calculator.loaded = teacher_calculator(load_teacher(TEACHERS / 'silicon_0.model', dtype='float64'))
    return calculator.loaded


def judge(geometry: LabelGeometry, truth: np.ndarray) -> dict[str, float]:
    """Return rms component and largest length of the core force error, and that of the epicentre, eV/Å."""
    core = np.flatnonzero(geometry.shell == SHELL_CORE)
    error = forces_of(geometry.atoms)[core] - truth[geometry.parents[core] % len(truth)]
    lengths = np.linalg.norm(error, axis=1)
    return {
        'rms': float(np.sqrt((error**2).mean())),
        'largest': float(lengths.max()),
        'centre': float(lengths[0] / np.sqrt(3)),
    }


def main() -> None:
    """Append the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('parents', nargs='+')
    parser.add_argument('--minutes', type=float, default=10.0)
    parser.add_argument('--relax', action='store_true')
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    RESULTS.parent.mkdir(exist_ok=True)
    known = set()
    if RESULTS.is_file():
        with RESULTS.open() as handle:
            known = {tuple(row[name] for name in COLUMNS[:6]) for row in csv.DictReader(handle)}
    with RESULTS.open('a') as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        if not known:
            writer.writeheader()
        for parent in arguments.parents:
            truth = forces_of(read_parent(parent))
            seen: dict[bytes, dict[str, float]] = {}
            for job, way in plan(parent, arguments.relax):
                settings = job.settings
                key = (parent, job.atom, settings.core_radius, settings.buffer_radius, settings.max_label_atoms, way)
                if tuple(map(str, key)) in known:
                    continue
                if time.monotonic() > end:
                    return
                try:
                    geometry = cut(job)
                except RejectedCutoutError:
                    continue
                mark = np.round(geometry.atoms.positions - geometry.atoms.positions[0], 6).tobytes() + bytes(
                    geometry.shell.astype(np.uint8)
                )
                if mark not in seen:
                    seen[mark] = judge(geometry, truth)
                row = {name: f'{value:.4f}' for name, value in seen[mark].items()}
                sizes = {
                    'n_atoms': len(geometry.atoms),
                    'n_core': int((geometry.shell == SHELL_CORE).sum()),
                    'odd': bool(geometry.report['odd_electrons']),
                }
                writer.writerow({**dict(zip(COLUMNS[:6], key, strict=True)), **sizes, **row})
                handle.flush()


if __name__ == '__main__':
    main()
