"""Speed and accuracy of the linear fit: 613 atoms of copper as pacemaker weighed and split them, and 32 000 of AlNi.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/ace_fit_speed.py [--only copper|alloy] [--threads 2]

The best of five repetitions for copper, one for the alloy, after a warm-up that loads the compiled kernels; peak memory
is the process's own.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import numba
import numpy as np
from ase.build import bulk
from threadpoolctl import threadpool_limits

from aiida_pyacemaker.science.ace import AcePotential, build_potential, evaluate
from aiida_pyacemaker.science.ace.blocks import Assembly, make_fit_block
from aiida_pyacemaker.science.ace.fit import FitResult, Ridge, solve_blocks
from aiida_pyacemaker.science.ace.weights import RowFactors, RowWeights
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, Frames

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests' / 'fixtures' / 'cu_emt'))
from copper_frames import load_copper

BOND = {'ALL': {'rcut': 5.5, 'r_in': 0.0, 'delta_in': 0.0}}
# pacemaker's loss, kappa 0.3: 0.7 <(ΔE/n)²> + 0.3 <|ΔF|²>, the latter a sum of three components
PACEMAKER_LOSS = RowWeights(energy=0.7e-6, forces=0.9e-2)


def copper_basis(count: int) -> AcePotential:
    """Return the basis of the reference fit, linear: 250 or 500 functions, SBessel, cut-off 5.5 Å."""
    limits = {'ALL': {'nradmax_by_orders': (15, 6, 4, 3, 2), 'lmax_by_orders': (0, 3, 3, 2, 2)}}
    functions = {'number_of_functions_per_element': count, **limits}
    return build_potential(['Cu'], FitConfig(basis={'bonds': BOND, 'functions': functions}))


def clock() -> np.ndarray:
    """Return seconds elapsed and seconds of processor: others on the machine spoil the first more than the second."""
    return np.array([time.perf_counter(), time.process_time()])


def fit_copper(potential: AcePotential, threads: int) -> tuple[FitResult, np.ndarray, np.ndarray]:
    """Return the fit of the 107 training frames, and seconds (elapsed, processor) of assembly and of solution."""
    (frames, frame_weights), _ = load_copper()
    factors = RowFactors(frames=frame_weights, atoms=np.ones(frames.n_atoms))
    assembly = Assembly(factors=factors, n_folds=5, n_threads=threads)
    start = clock()
    block = make_fit_block(frames, potential, name='copper', weights=PACEMAKER_LOSS, assembly=assembly)
    middle = clock()
    ridge = Ridge('cross-validation')
    fitted = solve_blocks([block], potential, factors={}, ridge=ridge, own_zero=None, complete=True)
    return fitted, middle - start, clock() - middle


def errors_of(potential: AcePotential, frames: Frames) -> tuple[float, float]:
    """Return the root mean square errors, meV/atom and meV/Å (components), all rows counting the same."""
    energy, forces = [], []
    for index, atoms in enumerate(frames.iter_atoms()):
        found = evaluate(potential, atoms)
        energy.append((found.energies.sum() - frames.energy[index]) / len(atoms))
        forces.append((found.forces - frames.forces[frames.span(index)]).ravel())
    return 1e3 * float(np.sqrt(np.mean(np.square(energy)))), 1e3 * float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))


def run_copper(threads: int) -> None:
    """Print the row of each size of basis."""
    (train, _), (test, _) = load_copper()
    print(f'copper: {len(train)} frames, {train.n_atoms} atoms; tested on {len(test)} frames')
    print('functions  assemble, solve (processor)    ridge     train meV/atom  meV/Å    test meV/atom  meV/Å')
    for count in (250, 500):
        potential = copper_basis(count)
        fit_copper(potential, threads)
        fits = [fit_copper(potential, threads) for _ in range(5)]
        fitted, assemble, solve = min(fits, key=lambda fit: fit[1][0] + fit[2][0])
        known, unknown = errors_of(fitted.potential, train), errors_of(fitted.potential, test)
        print(
            f'{count:9d} {assemble[0]:7.2f} s, {solve[0]:4.2f} s ({(assemble + solve)[1]:6.2f} s)  {fitted.ridge:7.1e} '
            f'{known[0]:14.2f} {known[1]:7.1f} {unknown[0]:15.2f} {unknown[1]:7.1f}'
        )


def run_alloy(threads: int) -> None:
    """Print times and memory of 1000 frames of 32 atoms, two elements, 500 functions an element."""
    limits = {'ALL': {'nradmax_by_orders': (15, 6, 4, 3), 'lmax_by_orders': (0, 4, 3, 2)}}
    functions = {'number_of_functions_per_element': 500, **limits}
    potential = build_potential(
        ['Al', 'Ni'], FitConfig(basis={'bonds': {'ALL': {'rcut': 5.0}}, 'functions': functions})
    )
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(1000):
        atoms = bulk('Al', 'fcc', a=3.75 * rng.uniform(0.97, 1.04), cubic=True) * (2, 2, 2)
        atoms.symbols = rng.choice(['Al', 'Ni'], len(atoms))
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        structures.append(atoms)
    frames = Frames.from_atoms(
        structures, energy=rng.normal(size=1000), label_mask=np.full(1000, HAS_ENERGY | HAS_FORCES)
    )
    frames = frames.with_columns(forces=rng.normal(size=(frames.n_atoms, 3)))
    make_fit_block(frames.select([0]), potential, name='warm', weights=RowWeights())
    start = clock()
    assembly = Assembly(n_threads=threads)
    block = make_fit_block(frames, potential, name='alloy', weights=RowWeights(), assembly=assembly)
    middle = clock()
    solve_blocks([block], potential, factors={}, own_zero=None, complete=True)
    end = clock()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f'alloy: 1000 frames of 32 atoms, {potential.n_functions} functions, {sum(block.n_rows.values())} rows')
    print(
        f'assemble and factorise {(middle - start)[0]:.1f} s, solve with active set {(end - middle)[0]:.1f} s '
        f'(processor {(end - start)[1]:.1f} s), peak memory {peak:.2f} GiB'
    )


def machine() -> str:
    """Return processor, cores and builds that the numbers are of."""
    names = [
        line.split(':')[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines() if 'model name' in line
    ]
    flags = 'AVX-512' if 'avx512f' in Path('/proc/cpuinfo').read_text() else 'no AVX-512'
    cores = len(os.sched_getaffinity(0))
    return f'{names[0]}, {flags}, {cores} cores; numpy {np.__version__}, numba {numba.__version__}'


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', choices=('copper', 'alloy'))
    parser.add_argument('--threads', type=int, default=2, help='threads that compute rows')
    options = parser.parse_args()
    print(f'{machine()}, {options.threads} threads for rows')
    with threadpool_limits(limits=1):
        for name, run in (('copper', run_copper), ('alloy', run_alloy)):
            if options.only in (None, name):
                run(options.threads)


if __name__ == '__main__':
    main()
