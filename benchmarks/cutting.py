"""Time and memory of cutting from frames of 10⁴ to 10⁶ atoms.

    python benchmarks/cutting.py [--sizes 10000 100000 1000000] [--epicentres 5] [--policy covalent metal]

A hot crystal of each size, a student of 30 functions, no teacher. Printed: the preparation of a frame (once), one
cutout with its acceptance (the mean over the epicentres), as wall time and CPU time of this process; the memory that a
cutout allocates at its peak beyond what stands (``tracemalloc``, which sees every NumPy array), and what the positions
of the frame take: were a frame copied for every epicentre, the first could not be below the second.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.science.ace import AcePotential, build_potential
from aiida_pyacemaker.science.config import CutoutConfig, FitConfig
from aiida_pyacemaker.science.cutout import Workbench, cut_out

CRYSTALS = {'covalent': ('Si', 'diamond', 5.43, 8), 'metal': ('Al', 'fcc', 4.05, 4)}
MEGABYTE = 1e6


def make_frame(policy: str, n_atoms: int) -> Atoms:
    """Return a hot crystal of about ``n_atoms`` atoms."""
    symbol, lattice, edge, in_cell = CRYSTALS[policy]
    atoms = bulk(symbol, lattice, a=edge, cubic=True) * ([round((n_atoms / in_cell) ** (1 / 3))] * 3)
    atoms.positions += np.random.default_rng(0).normal(scale=0.08, size=atoms.positions.shape)
    return atoms


def make_student(symbol: str) -> AcePotential:
    """Return a student of random coefficients: what it says does not matter here."""
    empty = build_potential([symbol], FitConfig(number_of_functions_per_element=30, cutoff=5.0))
    return empty.with_coefficients(np.random.default_rng(3).normal(size=sum(empty.n_functions)))


def measure(policy: str, n_atoms: int, n_epicentres: int) -> str:
    """Return one line of the table."""
    frame, potential = make_frame(policy, n_atoms), make_student(CRYSTALS[policy][0])
    config = CutoutConfig(core_radius=0.0, policy=policy, fallback=False)
    small = Workbench.prepare(make_frame(policy, 4000), potential, None)
    cut_out(small, 0, config)  # compiles
    start, cpu = time.perf_counter(), time.process_time()
    bench = Workbench.prepare(frame, potential, None)
    prepared, prepared_cpu = time.perf_counter() - start, time.process_time() - cpu
    epicentres = np.random.default_rng(1).choice(len(frame), n_epicentres, replace=False).tolist()
    start, cpu = time.perf_counter(), time.process_time()
    for epicentre in epicentres:
        cut_out(bench, epicentre, config)
    wall, used = (time.perf_counter() - start) / n_epicentres, (time.process_time() - cpu) / n_epicentres
    tracemalloc.start()
    cut_out(bench, epicentres[0], config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (
        f'{policy:9s} {len(frame):8d}  {prepared:8.2f} ({prepared_cpu:6.2f})  {wall:8.2f} ({used:6.2f})'
        f'  {peak / MEGABYTE:8.1f}  {frame.positions.nbytes / MEGABYTE:8.1f}'
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', type=int, nargs='+', default=[10_000, 100_000, 1_000_000])
    parser.add_argument('--epicentres', type=int, default=5)
    parser.add_argument('--policy', nargs='+', default=list(CRYSTALS), choices=list(CRYSTALS))
    arguments = parser.parse_args()
    print('policy       atoms   prepare s (CPU s)  a cutout s (CPU s)   peak MB  positions MB')
    for policy in arguments.policy:
        for size in arguments.sizes:
            print(measure(policy, size, arguments.epicentres), flush=True)


if __name__ == '__main__':
    main()
