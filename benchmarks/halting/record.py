"""MD of a student with γ and the true force error of every atom at every step: what all rules are judged on later.

    .venv/bin/python benchmarks/halting/record.py sw crystal 1000 --steps 4000 --into FOLDER

``sw``: the student is distilled by our own fit from Stillinger-Weber silicon, the truth at every step; ``mace``: from
the committee of ``examples/silicon``, the truth at every tenth step. ``crystal`` is what the student was taught,
``vacancy`` holds one defect that it never saw, however large the cell, ``warm`` and ``hot`` are the crystal at 1200 and
1500 K, 300 and 600 K above the hottest frame it learnt. Goes on where an earlier call ended.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import stillinger_weber
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.ace.blocks import make_fit_block
from aiida_pyacemaker.science.ace.calibration import graded_errors
from aiida_pyacemaker.science.ace.fit import solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, Frames
from aiida_pyacemaker.science.md import write_structure
from aiida_pyacemaker.science.md.engine import ScriptRunner, open_lammps
from aiida_pyacemaker.science.md.student import load_student
from aiida_pyacemaker.science.neighbours import Pairs
from aiida_pyacemaker.science.student import Student
from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

TEACHERS = sorted((Path(__file__).parents[2] / 'examples/silicon/teachers').glob('*.model'))
LATTICE = {'sw': 5.431, 'mace': 5.46}
TRUTH_EVERY = {'sw': 1, 'mace': 10}
TEMPERATURES_K = {'crystal': 900.0, 'vacancy': 900.0, 'warm': 1200.0, 'hot': 1500.0}
POOL_TEMPERATURES_K, POOL_STRAINS, POOL_SNAPSHOTS = (300.0, 600.0, 900.0), (-0.02, -0.01, 0.0, 0.01, 0.02), 6
GAMMA_FLOOR, ERROR_FLOOR = 1.2, 0.05  # what is below is not kept; eV/Å
CHUNK = 200


def make_pool(teacher: str) -> Frames:
    """Return labelled frames of 64 atoms: snapshots of Stillinger-Weber MD of the strained crystal."""
    structures = []
    for strain in POOL_STRAINS:
        for temperature in POOL_TEMPERATURES_K:
            crystal = bulk('Si', cubic=True, a=LATTICE[teacher] * (1 + strain)) * 2
            structures += snapshots(crystal, temperature, seed=len(structures) + 1)
    if teacher == 'sw':
        labels = [stillinger_weber.label(atoms) for atoms in structures]
        energies, forces = [energy for energy, _ in labels], [force for _, force in labels]
    else:
        calculator = teacher_calculator(load_teacher(TEACHERS))
        energies, forces = [], []
        for atoms in structures:
            atoms.calc = calculator
            energies.append(atoms.get_potential_energy())
            forces.append(atoms.get_forces())
            atoms.calc = None
    mask = np.full(len(structures), HAS_ENERGY | HAS_FORCES, dtype='u1')
    return Frames.from_atoms(structures, energy=energies, forces=np.concatenate(forces), label_mask=mask)


def snapshots(atoms: Atoms, temperature_K: float, *, seed: int) -> list[Atoms]:
    """Return snapshots of MD, 0.2 ps apart."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / 'si.sw').write_text(stillinger_weber.LAMMPS_FILE)
        write_structure(Path(folder) / 'pool.data', atoms, ['Si'])
        return run_pool(Path(folder), atoms, temperature_K, seed)


def run_pool(folder: Path, atoms: Atoms, temperature_K: float, seed: int) -> list[Atoms]:
    """Return snapshots of MD from the files in ``folder``."""
    lmp = open_lammps(['-log', 'none', '-screen', 'none'])
    lmp.commands_list(
        ['units metal', 'atom_style atomic', f'read_data {folder}/pool.data', 'mass 1 28.085', 'pair_style sw',
         f'pair_coeff * * {folder}/si.sw Si', f'velocity all create {2 * temperature_K} {seed}', 'fix move all nve',
         f'fix bath all langevin {temperature_K} {temperature_K} 0.1 {seed}', 'run 800']
    )  # fmt: skip
    found = []
    for _ in range(POOL_SNAPSHOTS):
        lmp.command('run 200')
        moved = atoms.copy()
        moved.positions = np.array(lmp.gather_atoms('x', 1, 3)).reshape(-1, 3)
        found.append(moved)
    lmp.close()
    return found


def make_student(folder: Path, teacher: str) -> tuple[str, str]:
    """Return the files of the student, fitted the first time."""
    files = folder / f'{teacher}.yaml', folder / f'{teacher}.asi'
    if not all(path.is_file() for path in files):
        pool = make_pool(teacher)
        rows = np.arange(len(pool))
        train, test = pool.select(rows[rows % POOL_SNAPSHOTS != 5]), pool.select(rows[rows % POOL_SNAPSHOTS == 5])
        config = FitConfig(number_of_functions_per_element=80, cutoff=5.0)
        empty = build_potential(['Si'], config, bond_length=2.35)
        block = make_fit_block(train, empty, name='pool', weights=RowWeights.from_config(config))
        fitted = solve_blocks([block], empty, factors={}, own_zero=None)
        fitted.potential.write_yaml(files[0])
        fitted.active_set.write(files[1])
        known = graded_errors(test, Student(potential=fitted.potential, active_set=fitted.active_set))
        rmse, high = np.sqrt(np.mean(known.errors**2)), np.quantile(known.errors, 0.99)
        print(f'{teacher}: {len(train)} frames learnt; |dF| on {len(test)} kept out: rms {rmse:.4f}, 99 % below '
              f'{high:.4f} eV/Å; γ median {np.median(known.gamma):.2f}, largest {known.gamma.max():.2f}')  # fmt: skip
    return str(files[0]), str(files[1])


def make_start(teacher: str, kind: str, n_atoms: int) -> Atoms:
    """Return the crystal of about ``n_atoms`` atoms, or with one defect in its middle."""
    atoms = bulk('Si', cubic=True, a=LATTICE[teacher]) * max(2, round((n_atoms / 8) ** (1 / 3)))
    middle = int(np.argmin(np.linalg.norm(atoms.positions - 0.5 * atoms.cell.sum(axis=0), axis=1)))
    if kind == 'vacancy':
        del atoms[middle]
    return atoms


class Recorder:
    """The student as the engine sees it, noting γ and the error of every force, as far as they are above the floors."""

    def __init__(self, teacher: str, files: tuple[str, str], start: Atoms) -> None:
        self.student = load_student(files[0], files[1], ['Si'])
        self.cutoff = self.student.cutoff
        self.lmp: Any = None
        self.start = start
        self.every = TRUTH_EVERY[teacher]
        self.calculator = None if teacher == 'sw' else teacher_calculator(load_teacher(TEACHERS))
        self.rows: list[NDArray[Any]] = []

    def begin(self, lmp: Any) -> None:
        """Start with no rows, in a new LAMMPS."""
        self.lmp, self.rows = lmp, []

    def evaluate(self, elements: NDArray[np.int64], pairs: Pairs, *, with_gamma: bool) -> Any:
        """Return what the student says, after noting how wrong it is."""
        answer = self.student.evaluate(elements, pairs, with_gamma=True)
        step, gamma = int(self.lmp.extract_global('ntimestep')), np.asarray(answer[3])
        error = np.zeros(len(gamma))
        if step % self.every == 0:
            error = np.linalg.norm(answer[1] - self._truth(pairs), axis=1)
        kept = np.flatnonzero((gamma > GAMMA_FLOOR) | (error > ERROR_FLOOR))
        rows = np.empty(len(kept), dtype=[('step', 'i4'), ('atom', 'i4'), ('gamma', 'f4'), ('error', 'f4')])
        rows['step'], rows['atom'], rows['gamma'], rows['error'] = step, kept, gamma[kept], error[kept]
        self.rows.append(rows)
        return answer

    def _truth(self, pairs: Pairs) -> NDArray[np.float64]:
        if self.calculator is None:
            return stillinger_weber.forces_of(pairs)[1]
        atoms = self.start.copy()
        atoms.positions = np.array(self.lmp.gather_atoms('x', 1, 3)).reshape(-1, 3)
        self.calculator.calculate(atoms, ['forces'])
        return np.asarray(self.calculator.results['forces'])


def steps_done(folder: Path) -> int:
    """Return the step that the record in ``folder`` has come to."""
    return max((int(path.stem.split('_')[1]) for path in folder.glob('until_*.npz')), default=0)


def run_chunk(folder: Path, recorder: Recorder, start: Atoms, temperature_K: float, seed: int) -> int:
    """Run the next chunk of one record; return the step it ended at."""
    # the names of the potential's files are asked for, but the recorder holds the student already
    done = steps_done(folder)
    lmp = open_lammps(['-log', 'none', '-screen', 'none'])
    recorder.begin(lmp)
    if not done:
        write_structure(folder / 'start.data', start, ['Si'])
    begin = ('read_restart ' + str(folder / f'at_{done}.restart')) if done else f'read_data {folder}/start.data'
    hot = [] if done else [f'velocity all create {2 * temperature_K} {seed} mom yes dist gaussian']
    lines = ['units metal', 'atom_style atomic', 'atom_modify map array', begin, 'mass 1 28.085', *hot,
             'pair_style pace/extrapolation', 'pair_coeff * * start.data start.data Si', 'neighbor 1.0 bin',
             'fix gam all pair 1 pace/extrapolation gamma 1', 'fix move all nve',
             f'fix bath all langevin {temperature_K} {temperature_K} 0.1 {seed + done}', 'timestep 0.001',
             f'run {CHUNK}', f'write_restart {folder}/at_{done + CHUNK}.restart']  # fmt: skip
    ScriptRunner(lmp, lambda *_: recorder, folder).run('\n'.join(lines))
    lmp.close()
    rows = np.concatenate(recorder.rows)
    rows = rows[rows['step'] > done]
    np.savez_compressed(folder / f'until_{done + CHUNK}.npz', rows=rows, n_atoms=len(start))
    (folder / f'at_{done}.restart').unlink(missing_ok=True)
    return done + CHUNK


def main() -> None:
    """Make one record, or more of it, for at most ``--minutes``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('teacher', choices=list(LATTICE))
    parser.add_argument('kind', choices=list(TEMPERATURES_K))
    parser.add_argument('atoms', type=int)
    parser.add_argument('--steps', type=int, default=4000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--minutes', type=float, default=14.0)
    parser.add_argument('--into', type=Path, required=True)
    asked = parser.parse_args()
    began, into = time.monotonic(), asked.into.resolve()
    folder = into / f'{asked.teacher}_{asked.kind}_{asked.atoms}_{asked.seed}'
    folder.mkdir(parents=True, exist_ok=True)
    files, start = make_student(into, asked.teacher), make_start(asked.teacher, asked.kind, asked.atoms)
    recorder, step = Recorder(asked.teacher, files, start), steps_done(folder)
    while step < asked.steps and time.monotonic() - began < 60 * asked.minutes:
        step = run_chunk(folder, recorder, start, TEMPERATURES_K[asked.kind], asked.seed)
        print(f'{folder.name}: step {step} after {time.monotonic() - began:.0f} s', flush=True)


if __name__ == '__main__':
    main()
