"""Make the parents of the fidelity benchmark: small periodic cells, hot or disordered, whose full DFT is affordable.

    python benchmarks/cutout_fidelity/make_parents.py NAME [NAME ...]

Each is written to ``parents/NAME.xyz`` (stored in the repository, so that numbers in the documentation keep belonging
to their structures). Silicon is run with the example's teacher, aluminium with ASE's EMT; MgO and the molecules have no
potential here and are rattled or packed at random.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import FIRE

HERE = Path(__file__).resolve().parent
TEACHERS = HERE.parents[1] / 'examples' / 'silicon' / 'teachers'
LIQUID_SILANE_A3 = 78.6  # a molecule at its boiling point, 0.68 g/cm³


def silicon_calculator() -> Calculator:
    """Return one member of the example's committee."""
    from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

    return teacher_calculator(load_teacher(TEACHERS / 'silicon_0.model', dtype='float32'))


def heat(atoms: Atoms, calculator: Calculator, stages: list[tuple[float, int]], seed: int, step_fs: float) -> Atoms:
    """Return the last frame of Langevin MD through ``stages`` (temperature in K, steps)."""
    rng = np.random.default_rng(seed)
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=stages[0][0], rng=rng)
    for temperature, count in stages:
        Langevin(
            atoms, step_fs * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng
        ).run(count)
    return Atoms(atoms.numbers, positions=atoms.get_positions(wrap=True), cell=atoms.cell, pbc=True)


def silicon_vacancy() -> Atoms:
    """Return Si63, a vacancy at 900 K."""
    atoms = bulk('Si', 'diamond', a=5.43, cubic=True).repeat(2)
    del atoms[0]
    return heat(atoms, silicon_calculator(), [(900.0, 400)], 1, 2.0)


def silicon_rattled() -> Atoms:
    """Return Si63, a vacancy with four dangling bonds, displaced by 0.08 Å rms a component."""
    atoms = bulk('Si', 'diamond', a=5.43, cubic=True).repeat(2)
    del atoms[0]
    atoms.positions += np.random.default_rng(1).normal(scale=0.08, size=atoms.positions.shape)
    return atoms


def silicon_amorphous() -> Atoms:
    """Return Si64 melted at 3500 K, quenched in steps and held at 300 K."""
    atoms = bulk('Si', 'diamond', a=5.43, cubic=True).repeat(2)
    stages = [(3500.0, 500), (2200.0, 300), (1600.0, 500), (1300.0, 500), (1000.0, 400), (600.0, 200), (300.0, 200)]
    return heat(atoms, silicon_calculator(), stages, 2, 2.0)


def aluminium_interstitial() -> Atoms:
    """Return Al33, a <100> dumbbell in 32 sites at 600 K."""
    atoms = bulk('Al', 'fcc', a=4.05, cubic=True).repeat(2)
    middle = atoms.positions[0].copy()
    atoms.positions[0] = middle + [1.35, 0.0, 0.0]
    atoms += Atoms('Al', positions=[middle - [1.35, 0.0, 0.0]])
    atoms.calc = EMT()
    FIRE(atoms, logfile=None).run(fmax=0.5, steps=60)
    return heat(atoms, EMT(), [(600.0, 300)], 6, 3.0)


def magnesia_pair() -> Atoms:
    """Return Mg7O7, a divacancy (one atom of each gone) in sixteen sites, displaced by 0.08 Å rms a component."""
    atoms = bulk('MgO', 'rocksalt', a=4.21, cubic=True).repeat((2, 1, 1))
    oxygen = int(np.flatnonzero(atoms.numbers == 8)[0])
    distances = atoms.get_distances(oxygen, range(len(atoms)), mic=True)
    del atoms[[oxygen, int(np.argmin(np.where(atoms.numbers == 12, distances, 99.0)))]]
    atoms.positions += np.random.default_rng(4).normal(scale=0.08, size=atoms.positions.shape)
    return atoms


def silane_liquid() -> Atoms:
    """Return four silane molecules at the density of the liquid, turned at random about shifted fcc sites."""
    rng = np.random.default_rng(5)
    sites = bulk('Ar', 'fcc', a=(4 * LIQUID_SILANE_A3) ** (1 / 3), cubic=True)
    atoms = Atoms(cell=sites.cell, pbc=True)
    for site in sites.positions:
        one = molecule('SiH4')
        one.positions -= one.positions[0]
        one.euler_rotate(*rng.uniform(0, [360, 180, 360]))
        one.positions += site + rng.normal(scale=0.2, size=3) + rng.normal(scale=0.03, size=one.positions.shape)
        atoms += one
    return atoms


MAKERS: dict[str, Callable[[], Atoms]] = {
    'si63_vacancy': silicon_vacancy,
    'si63_rattled': silicon_rattled,
    'si64_amorphous': silicon_amorphous,
    'al33_interstitial': aluminium_interstitial,
    'mgo14_divacancy': magnesia_pair,
    'silane4': silane_liquid,
}


if __name__ == '__main__':
    for wanted in sys.argv[1:] or MAKERS:
        made = MAKERS[wanted]()
        made.info = {}
        write(HERE / 'parents' / f'{wanted}.xyz', made, columns=['symbols', 'positions'])
        print(wanted, len(made), made.get_chemical_formula(), np.round(made.cell.lengths(), 3))
