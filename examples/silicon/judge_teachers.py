"""Print the numbers of ``teachers/README.md``: errors, crystal and disagreement of the shipped models.

Usage::

    python judge_teachers.py                           # crystal and disagreement; CHGNet beside them where installed
    python judge_teachers.py --valid WORK/valid.xyz    # errors, too, on the structures train_teachers.py kept out
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.build import bulk
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

FOLDER = Path(__file__).resolve().parent / 'teachers'
STRAIN = 0.004
LATTICES = np.linspace(5.2, 5.75, 12)  # Å


def group_of(kind: str) -> str:
    """Return the column of the README that a kind of structure belongs to."""
    if kind == 'pair':
        return 'pairs'
    if 'H' in kind:
        return 'Si-H clusters'
    return 'surfaces' if 'slab' in kind else 'other phases' if kind == 'phase' else 'silicon bulk'


def print_errors(name: str, teacher: Any, structures: list[Any]) -> None:
    """Print force RMSE (eV/Å a component) and energy RMSE (meV/atom) against the labels, by group."""
    from aiida_pyacemaker.science.frames import Frames
    from aiida_pyacemaker.science.teacher import label_frames

    frames = Frames.from_atoms(structures)
    labels = label_frames(teacher, frames)
    forces = labels.forces - np.concatenate([atoms.arrays['REF_forces'] for atoms in structures])
    sizes = np.diff(frames.offsets)
    energies = (labels.energy - np.array([atoms.info['REF_energy'] for atoms in structures])) / sizes
    groups = np.array([group_of(atoms.info['kind']) for atoms in structures])
    for group in sorted(set(groups)):
        chosen = groups == group
        force = np.sqrt(np.mean(forces[np.repeat(chosen, sizes)] ** 2))
        energy = 1000 * np.sqrt(np.mean(energies[chosen] ** 2))
        print(f'{name:16} {group:14}{chosen.sum():4d} structures   {force:5.2f} eV/Å {energy:6.0f} meV/atom')


def print_crystal(name: str, calculator: Any) -> None:
    """Print a0 (Å) of diamond silicon and C11, C12, C44 (GPa; atoms not relaxed under strain)."""

    def energy(lattice: float) -> float:
        atoms = bulk('Si', a=lattice)
        atoms.calc = calculator
        return float(atoms.get_potential_energy())

    curve = np.polynomial.Polynomial.fit(LATTICES, [energy(lattice) for lattice in LATTICES], 5)
    turns = curve.deriv().roots()
    turns = turns[np.abs(turns.imag) < 1e-9].real
    turns = turns[(turns > LATTICES[0]) & (turns < LATTICES[-1])]
    lattice = float(min(turns, key=curve))

    def stiffness(strain: Any) -> Any:
        stresses = []
        for sign in (1.0, -1.0):
            atoms = bulk('Si', a=lattice, cubic=True)
            atoms.set_cell(atoms.cell[:] @ (np.eye(3) + sign * strain), scale_atoms=True)
            atoms.calc = calculator
            stresses.append(atoms.get_stress() / units.GPa)
        return (stresses[0] - stresses[1]) / (2 * STRAIN)

    stretch, shear = np.zeros((3, 3)), np.zeros((3, 3))
    stretch[0, 0], shear[1, 2], shear[2, 1] = STRAIN, STRAIN / 2, STRAIN / 2
    along, across = stiffness(stretch), stiffness(shear)
    print(f'{name:16} a0 {lattice:.3f} Å   C11 {along[0]:.0f}   C12 {along[1]:.0f}   C44 {across[3]:.0f} GPa')


def print_disagreement(teacher: Any, temperature_K: float) -> None:
    """Print the committee's mean uncertainty (eV/Å) in 1 ps of Langevin MD of 32 atoms, the first 0.4 ps left out."""
    from aiida_pyacemaker.science.teacher import teacher_calculator

    rng = np.random.default_rng(0)
    atoms = bulk('Si', a=5.47, cubic=True) * (2, 2, 1)
    atoms.calc = teacher_calculator(teacher)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature_K, rng=rng)
    friction = 0.01 / units.fs
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=temperature_K, friction=friction, rng=rng, fixcm=False)
    values = []
    for _ in range(25):
        dynamics.run(20)
        values.append(atoms.calc.results['uncertainty'].mean())
    print(f'{"committee":16} disagreement at {temperature_K:.0f} K: {np.mean(values[10:]):.2f} eV/Å')


def main() -> None:
    """Load the models one by one and together, print what is asked for."""
    from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, default=FOLDER, help='folder of the .model files')
    parser.add_argument('--valid', type=Path, help='structures with labels, as train_teachers.py writes them')
    arguments = parser.parse_args()
    warnings.simplefilter('ignore')
    files = sorted(arguments.models.glob('*.model'))
    structures = read(arguments.valid, ':') if arguments.valid else []
    committee = load_teacher(files)
    for name, teacher in [*((path.stem, load_teacher([path])) for path in files), ('committee mean', committee)]:
        if structures:
            print_errors(name, teacher, structures)
        print_crystal(name, teacher_calculator(teacher))
    try:
        from chgnet.model.dynamics import CHGNetCalculator
    except ImportError:
        print("CHGNet           not installed: pip install -e '.[teachers]'")
    else:
        print_crystal('CHGNet', CHGNetCalculator(use_device='cpu'))
    for temperature_K in (300.0, 1500.0):
        print_disagreement(committee, temperature_K)


if __name__ == '__main__':
    main()
