"""Many cutouts with a teacher as the truth: its core forces on the cutout against those on the whole parent.

    python benchmarks/cutout_fidelity/run_teacher.py [--minutes 10] [--relax] [--stride 3] PARENT [PARENT ...]

A teacher is no truth about electrons: it sees as far as its messages reach, and no further. But it is cheap, so that
radius, buffer and relaxation can be scanned over every atom of a parent: the first model of the example's committee for
silicon, EMT for aluminium. Rows are appended to ``results/teacher.csv``; those that are there are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from jobs import BOXES, TEACHERS, UNLIMITED, Job, cut, read_parent, replicate

from aiida_pyacemaker.science.cutout.label_geometry import LabelGeometry, RejectedCutoutError
from aiida_pyacemaker.science.cutout.label_noise import core_depths
from aiida_pyacemaker.science.frames import SHELL_CORE
from aiida_pyacemaker.science.images import FrameIndex

RESULTS = Path(__file__).resolve().parent / 'results' / 'teacher.csv'
CORES = (0.0, 2.8, 4.0, 5.0)
BUFFERS = (1.0, 2.0, 3.0, 4.0)
DEFAULT = (3.0, 130)  # buffer and most atoms
KEY = ('parent', 'atom', 'core', 'buffer', 'limit', 'relaxed')
# rim: part of the squared error that is on the furthest third of the core's radius;
# by_depth: depth (Å) and error (eV/Å) of every core atom
COLUMNS = (*KEY, 'n_atoms', 'n_core', 'odd', 'rms', 'largest', 'centre', 'rim', 'by_depth')
Row = dict[str, Any]


def plan(parent: str, stride: int, relax: bool) -> Iterator[tuple[Job, str]]:
    """Yield jobs and what is relaxed: nothing, the caps (in a box its seam), caps and buffer."""
    ways = ('caps', 'buffer') if relax else ('nothing',)
    for atom in range(0, len(read_parent(parent)), stride):
        for core in (0.0, 4.0) if relax else CORES:
            for buffer, limit in [DEFAULT] if relax else [DEFAULT, *((value, UNLIMITED) for value in BUFFERS)]:
                for way in ways:
                    config = {
                        'policy': BOXES.get(parent, 'covalent'),
                        'core_radius': core,
                        'buffer_radius': buffer,
                        'max_label_atoms': limit,
                        'enable_pre_relaxation': way != 'nothing',
                        'relax_buffer': way == 'buffer',
                    }
                    yield Job(parent=parent, atom=atom, label='teacher', config=config), way


@cache
def truth_of(parent: str) -> Calculator:
    """Return whose forces are the truth about a parent."""
    if parent.startswith('al'):
        return EMT()
    from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

    return teacher_calculator(load_teacher(TEACHERS / 'silicon_0.model', dtype='float64'))


def forces_of(atoms: Atoms, parent: str) -> np.ndarray:
    """Return (n, 3) forces in eV/Å."""
    copy = atoms.copy()
    copy.calc = truth_of(parent)
    return np.asarray(copy.get_forces())


@cache
def frame_of(parent: str) -> FrameIndex:
    """Return the replicated parent that cutouts are cut from."""
    return replicate(read_parent(parent))


@cache
def whole_forces(parent: str) -> np.ndarray:
    """Return (n, 3) forces on a parent, eV/Å."""
    return forces_of(read_parent(parent), parent)


def judge(job: Job, geometry: LabelGeometry) -> Row:
    """Return rms component and largest length of the core force error, that of the epicentre, all with their depths."""
    core = np.flatnonzero(geometry.shell == SHELL_CORE)
    truth = whole_forces(job.parent)
    rows = geometry.parents[core]
    square = ((forces_of(geometry.atoms, job.parent)[core] - truth[rows % len(truth)]) ** 2).mean(axis=1)
    depth = core_depths(frame_of(job.parent), job.atom, geometry)
    centre = int(np.flatnonzero(rows == job.atom)[0])
    places = geometry.atoms.positions[core]
    radius = np.linalg.norm(places - places[centre], axis=1)
    outer = radius > 2 / 3 * job.settings.core_radius
    return {
        'n_atoms': len(geometry.atoms),
        'n_core': len(core),
        'odd': int(bool(geometry.report['odd_electrons'])),
        'rms': f'{np.sqrt(square.mean()):.4f}',
        'largest': f'{np.sqrt(3 * square.max()):.4f}',
        'centre': f'{np.sqrt(square[centre]):.4f}',
        'rim': f'{square[outer].sum() / square.sum():.3f}' if job.settings.core_radius else '',
        'by_depth': ' '.join(f'{far:.2f}:{error:.4f}' for far, error in zip(depth, np.sqrt(square), strict=True)),
    }


def known_rows() -> set[tuple[str, ...]]:
    """Return the keys of the rows that are there; write the first line where there are none."""
    if not RESULTS.is_file():
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open('w', newline='') as handle:
            csv.DictWriter(handle, COLUMNS).writeheader()
    with RESULTS.open() as handle:
        return {tuple(row[name] for name in KEY) for row in csv.DictReader(handle)}


def compute(job: Job, key: tuple[Any, ...], seen: dict[bytes, Row]) -> Row | None:
    """Return the row of one cutout, None where nothing can be cut; ``seen``: what was cut in the same way before."""
    try:
        geometry = cut(job)
    except RejectedCutoutError:
        return None
    shape = np.round(geometry.atoms.positions - geometry.atoms.positions[0], 6).tobytes()
    mark = shape + geometry.shell.astype(np.uint8).tobytes()
    if mark not in seen:
        seen[mark] = judge(job, geometry)
    return {**dict(zip(KEY, key, strict=True)), **seen[mark]}


def main() -> None:
    """Append the rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('parents', nargs='+')
    parser.add_argument('--minutes', type=float, default=10.0)
    parser.add_argument('--stride', type=int, default=3, help='every so many atoms one is an epicentre')
    parser.add_argument('--relax', action='store_true')
    arguments = parser.parse_args()
    start, cpu = time.monotonic(), time.process_time()
    known, made = known_rows(), 0
    with RESULTS.open('a', newline='') as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        for parent in arguments.parents:
            seen: dict[bytes, Row] = {}
            for job, way in plan(parent, arguments.stride, arguments.relax):
                if time.monotonic() - start > 60 * arguments.minutes:
                    print('time is over, run again for the rest')
                    break
                config = job.config
                key = (parent, job.atom, config['core_radius'], config['buffer_radius'], config['max_label_atoms'], way)
                if tuple(map(str, key)) in known or (row := compute(job, key, seen)) is None:
                    continue
                writer.writerow(row)
                handle.flush()
                made += 1
    print(f'{made} rows, CPU {time.process_time() - cpu:.0f} s')


if __name__ == '__main__':
    main()
