"""What 100 new frames cost a fit that has seen 10^3, 10^4 and 10^5 before, and what memory that takes.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/ace_incremental.py [--frames 1000 10000 100000]
        [--plot docs/images/incremental_cost.png]

Copper, 250 functions, the cells of the pacemaker fixture rattled again and labelled by a fit of them. The history is
streamed into one block, as a loop would have left it; then a block of 100 frames is made and all is solved. Beside it:
the cost of fitting history and new frames anew, and the process's peak memory so far, frames included. Times are
processor seconds (both threads), which other users of the machine disturb less, and the best of fifteen.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from ace_fit_speed import copper_basis, fit_copper, load_copper, machine
from threadpoolctl import threadpool_limits

from aiida_pyacemaker.science.ace import AcePotential, evaluate
from aiida_pyacemaker.science.ace.blocks import Assembly, FitBlock, make_fit_block
from aiida_pyacemaker.science.ace.fit import solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, Frames, concatenate_frames

NEW = 100
CHUNK = 5000  # frames labelled at once
REPETITIONS = 15


def rattled_frames(count: int, teacher: AcePotential, rng: np.random.Generator) -> Frames:
    """Return ``count`` small rattled cells of the fixture with labels of ``teacher``."""
    (train, _), _ = load_copper()
    small = [atoms for atoms in train.iter_atoms() if len(atoms) <= 8]
    structures, energies, forces = [], [], []
    for _ in range(count):
        atoms = small[rng.integers(len(small))].copy()
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        found = evaluate(teacher, atoms)
        structures.append(atoms)
        energies.append(found.energies.sum())
        forces.append(found.forces)
    labels = {'energy': np.array(energies), 'forces': np.concatenate(forces)}
    return Frames.from_atoms(structures, **labels, label_mask=np.full(count, HAS_ENERGY | HAS_FORCES))


def many_frames(count: int, teacher: AcePotential, rng: np.random.Generator) -> Frames:
    """Return many of them, made in pieces."""
    return concatenate_frames(
        [rattled_frames(min(CHUNK, count - done), teacher, rng) for done in range(0, count, CHUNK)]
    )


def make(frames: Frames, potential: AcePotential, name: str) -> tuple[FitBlock, float]:
    """Return the block of some frames and the processor seconds it took."""
    start = time.process_time()
    block = make_fit_block(frames, potential, name=name, weights=RowWeights(), assembly=Assembly(n_threads=2))
    return block, time.process_time() - start


def update_seconds(history: FitBlock, new: Frames, potential: AcePotential) -> tuple[float, float, float]:
    """Return processor seconds of the block of the new frames and of the solution, and seconds of both: the best."""
    timings = []
    for _ in range(REPETITIONS):
        wall = time.perf_counter()
        block, assembly = make(new, potential, 'new')
        start = time.process_time()
        solve_blocks([history, block], potential, factors={}, complete=True)
        timings.append((assembly, time.process_time() - start, time.perf_counter() - wall))
    return tuple(min(column) for column in zip(*timings, strict=True))


def draw_costs(ax, counts: list[int], updates: list[float], anew: list[float]) -> None:
    """Draw seconds against the number of frames before."""
    ax.loglog(counts, updates, 'o-', label='update: block of 100 frames + solution')
    ax.loglog(counts, anew, 's--', label='all frames again')
    ax.set_xlabel('frames before')
    ax.set_ylabel('processor time (s)')
    ax.legend()


def main() -> None:
    """Print a row for each length of history; draw them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, nargs='+', default=[1000, 10_000, 100_000])
    parser.add_argument('--plot', type=Path)
    options = parser.parse_args()
    print(machine())
    potential, rng = copper_basis(250), np.random.default_rng(0)
    updates, anew = [], []
    with threadpool_limits(limits=1):
        teacher = fit_copper(potential, 1)[0].potential
        potential = potential.with_reference_energies(teacher.reference_energies)
        new = rattled_frames(NEW, teacher, rng)
        print('frames before   block of 100   solve   update   (elapsed)     all again   peak memory')
        for count in options.frames:
            history, seconds = make(many_frames(count, teacher, rng), potential, 'history')
            assembly, solve, wall = update_seconds(history, new, potential)
            updates.append(assembly + solve)
            anew.append(seconds + assembly + solve)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f'{count:13d} {assembly:12.2f} s {solve:5.2f} s {updates[-1]:6.2f} s {wall:9.2f} s {anew[-1]:11.1f} s '
                f'{peak:9.2f} GiB',
                flush=True,
            )
    if options.plot is not None:
        import matplotlib

        matplotlib.use('Agg')
        import matplotlib.pyplot as plt

        figure, ax = plt.subplots(figsize=(5.0, 3.5), layout='constrained')
        draw_costs(ax, options.frames, updates, anew)
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(options.plot, dpi=150)


if __name__ == '__main__':
    main()
