"""Real DFT of parents and of the cutouts made from them; the difference of their forces is what cutting costs.

    python benchmarks/cutout_fidelity/run_dft.py --work FOLDER [--minutes 14] [--only WORD ...] [--list]

Every finished SCF is a piece of JSON in FOLDER/pieces: a run that was ended goes on where it was, so that hours of one
core can be spent in portions; none is begun after ``--minutes``. ``--only``: jobs whose name holds one of the words.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jobs import PARENTS, Job, cut, make_jobs, read_parent
from scf import run_scf


def run_parent(name: str, work: Path) -> dict[str, Any]:
    """Return the piece of a parent's full periodic cell."""
    parent = PARENTS[name]
    return run_scf(name, read_parent(name), parent.theory, work / 'pieces', shift=parent.shift)


def cut_once(job: Job, work: Path) -> dict[str, Any]:
    """Return what was cut for a job as plain values, from its file where it is there."""
    path = work / 'cutouts' / f'{job.name}.json'
    if path.is_file() and (record := json.loads(path.read_text()))['job'] == json.loads(json.dumps(job.describe())):
        return record
    geometry = cut(job)
    record = {
        'job': job.describe(),
        'numbers': geometry.atoms.numbers.tolist(),
        'positions_A': np.round(geometry.atoms.positions, 6).tolist(),
        'cell_A': np.round(geometry.atoms.cell[:], 6).tolist(),
        'pbc': geometry.atoms.pbc.tolist(),
        'shell': geometry.shell.tolist(),
        'parents': np.where(geometry.parents < 0, -1, geometry.parents % len(read_parent(job.parent))).tolist(),
        'report': geometry.report,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, default=float))
    return record


def run_job(job: Job, work: Path) -> dict[str, Any]:
    """Return the piece of one cutout's SCF."""
    record = cut_once(job, work)
    atoms = Atoms(record['numbers'], positions=record['positions_A'], cell=record['cell_A'], pbc=record['pbc'])
    parent = PARENTS[job.parent]
    return run_scf(job.name, atoms, parent.boxes or parent.theory, work / 'pieces', nspin=job.nspin)


def entries() -> Iterator[str | Job]:
    """Yield names of parents and jobs, a parent before its first job, those without jobs last."""
    seen: set[str] = set()
    for job in make_jobs():
        if job.parent not in seen:
            seen.add(job.parent)
            yield job.parent
        if job.name not in seen:
            seen.add(job.name)
            yield job
    yield from (name for name in PARENTS if name not in seen)


def main() -> None:
    """Run what has no piece yet as long as time is left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work', type=Path, required=True)
    parser.add_argument('--minutes', type=float, default=14.0)
    parser.add_argument('--only', nargs='*', default=[''])
    parser.add_argument('--list', action='store_true')
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    for entry in entries():
        name = entry if isinstance(entry, str) else entry.name
        if not any(word in name for word in arguments.only):
            continue
        if arguments.list:
            print(name, 0 if isinstance(entry, str) else len(cut_once(entry, arguments.work)['numbers']))
            continue
        if time.monotonic() > end:
            print('time is over, run again for the rest')
            return
        piece = run_parent(entry, arguments.work) if isinstance(entry, str) else run_job(entry, arguments.work)
        cost = f'{piece["n_iterations"]} iterations, cpu {piece["cpu_s"]} s, wall {piece["wall_s"]:.0f} s'
        print(name, 'converged' if piece['converged'] else 'NOT CONVERGED', cost, flush=True)


if __name__ == '__main__':
    main()
