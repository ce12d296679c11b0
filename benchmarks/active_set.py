"""Active sets of many frames, and how γ is calibrated: time, memory and coverage on copper labelled by EMT.

    .venv/bin/python benchmarks/active_set.py [--frames 100000] [--functions 250]

Prints Markdown. Part one streams rattled copper cells of four atoms through MaxVol; part two fits a student to cool
copper and calibrates γ on batches of labels that grow hotter.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.science.ace import AcePotential, build_potential, evaluate
from aiida_pyacemaker.science.ace.active_set import SWAP_TOLERANCE, active_set_from
from aiida_pyacemaker.science.ace.blocks import make_fit_block
from aiida_pyacemaker.science.ace.calibration import calibrate_gamma, graded_errors, judge_in_order
from aiida_pyacemaker.science.ace.fit import solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.student import Student

ERROR_EV_PER_A = 0.05


class Cells:
    """Strained, rattled copper cells of four atoms, made again each time they are gone through."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.passes = 0

    def __iter__(self) -> Iterator[Atoms]:
        """Yield one cell at a time."""
        self.passes += 1
        rng = np.random.default_rng(1)
        for _ in range(self.count):
            atoms = bulk('Cu', a=3.61 * rng.uniform(0.93, 1.08), cubic=True)
            atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
            atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.25), size=(4, 3))
            yield atoms


def stream(potential: AcePotential, count: int, *, once: bool) -> None:
    """Print time, memory and the largest γ over everything that was streamed."""
    cells = Cells(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    built = active_set_from(potential, iter(cells) if once else cells)
    seconds = time.perf_counter() - began
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    passes, largest, above = cells.passes, 0.0, 0
    for atoms in cells:
        gamma = evaluate(potential, atoms, active_set=built).gamma
        largest, above = max(largest, gamma.max()), above + np.count_nonzero(gamma > SWAP_TOLERANCE)
    print(f'| {count} | {4 * count} | {passes} | {seconds:.0f} | {memory:.0f} | {largest:.3f} | {above} |')


def labelled(amplitude: float, *, seed: int, count: int) -> Frames:
    """Return rattled copper of 32 atoms with the forces of EMT."""
    structures, energies, forces = [], [], []
    for index in range(count):
        atoms = bulk('Cu', a=3.61, cubic=True) * (2, 2, 2)
        atoms.rattle(amplitude, seed=1000 * seed + index)
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        structures.append(atoms)
    mask = np.full(count, 3, dtype='u1')
    return Frames.from_atoms(structures, energy=energies, forces=np.concatenate(forces), label_mask=mask)


def calibrate() -> None:
    """Print how each batch fared under the bounds from those before it."""
    config = FitConfig(number_of_functions_per_element=100, cutoff=6.0)
    potential, baseline = build_potential(['Cu'], config, bond_length=2.55), fit_baseline(['Cu'], 'ZBL')
    frames = labelled(0.08, seed=1, count=30)
    weights = RowWeights.from_config(config)
    block = make_fit_block(frames, potential, name='pool', baseline=baseline, weights=weights)
    fitted = solve_blocks([block], potential, factors={})
    student = Student(potential=fitted.potential, active_set=fitted.active_set, baseline=baseline)
    amplitudes = (0.04, 0.04, 0.04, 0.08, 0.08, 0.12, 0.12, 0.12)
    batches = [graded_errors(labelled(a, seed=2 + i, count=20), student) for i, a in enumerate(amplitudes)]
    judged = judge_in_order(batches, error_eV_per_A=ERROR_EV_PER_A)
    print('| batch | rattled by (Å) | median γ | median error (eV/Å) | within the bound | of them without a bound |')
    print('|---|---|---|---|---|---|')
    for index, batch in enumerate(batches):
        covered = '' if np.isnan(judged.covered[index]) else f'{100 * judged.covered[index]:.1f} %'
        numbers = f'{np.median(batch.gamma):.2f} | {np.median(batch.errors):.4f}'
        print(f'| {index + 1} | {amplitudes[index]} | {numbers} | {covered} | {judged.n_unbounded[index]} of 640 |')
    threshold = calibrate_gamma(type(batches[0]).join(batches)).threshold(ERROR_EV_PER_A)
    print(f'\nOf all errors that had a bound, {100 * judged.overall:.1f} % were within it (aimed at: 95 %).')
    print(f'After all batches, 95 % of the errors stay within {ERROR_EV_PER_A} eV/Å up to γ = {threshold:.2f}.')


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, default=100_000)
    parser.add_argument('--functions', type=int, default=250)
    arguments = parser.parse_args()
    config = FitConfig(number_of_functions_per_element=arguments.functions, cutoff=6.0)
    potential = build_potential(['Cu'], config, bond_length=2.55)
    evaluate(potential, bulk('Cu'), with_projections=True)  # compiled and tabulated before the clock starts
    print(f'{platform.machine()}, Python {platform.python_version()}, {potential.n_functions[0]} functions\n')
    print('| frames | atoms | passes | seconds | memory above the start (MiB) | largest γ of all | atoms above 1.01 |')
    print('|---|---|---|---|---|---|---|')
    for count, once in ((arguments.frames // 10, True), (arguments.frames, True), (arguments.frames // 10, False)):
        stream(potential, count, once=once)
    print()
    calibrate()


if __name__ == '__main__':
    main()
