"""Hot frames of every kind of bonding, and a student of random coefficients for any elements."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, graphene, molecule, mx2
from ase.io import read

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.config import FitConfig

FIXTURES = Path(__file__).parents[2] / 'fixtures' / 'cutout'


def shaken(atoms, amplitude, seed=0):
    moved = atoms.copy()
    moved.positions += np.random.default_rng(seed).normal(scale=amplitude, size=moved.positions.shape)
    return moved


def silicon_with_vacancy():
    atoms = bulk('Si', 'diamond', a=5.43, cubic=True) * (3, 3, 3)
    del atoms[100]
    return shaken(atoms, 0.08)


def silicon_amorphous():
    return read(FIXTURES / 'si64_amorphous.xyz') * (2, 2, 2)


def gallium_arsenide():
    return shaken(bulk('GaAs', 'zincblende', a=5.65, cubic=True) * (3, 3, 3), 0.05)


def aluminium_with_interstitial():
    atoms = bulk('Al', 'fcc', a=4.05, cubic=True) * (5, 5, 5)
    atoms += Atoms('Al', positions=[atoms.positions[250] + [2.025, 0, 0]])
    return shaken(atoms, 0.08)


def iron():
    return shaken(bulk('Fe', 'bcc', a=2.87, cubic=True) * (6, 6, 6), 0.06)


def copper_liquid():
    """A dense random packing: no translation maps it onto itself."""
    rng = np.random.default_rng(4)
    atoms = bulk('Cu', 'fcc', a=3.8, cubic=True) * (5, 5, 5)
    for _ in range(8):
        atoms.positions += rng.normal(scale=0.5, size=atoms.positions.shape)
        push_apart(atoms, 2.15)
    return atoms


def push_apart(atoms, shortest):
    from ase.neighborlist import neighbor_list

    for _ in range(12):
        first, vectors = neighbor_list('iD', atoms, shortest)
        if not len(first):
            return
        lengths = np.linalg.norm(vectors, axis=1)
        steps = vectors * ((lengths - shortest) / lengths * 0.55)[:, None]
        np.add.at(atoms.positions, first, steps)


def magnesia_with_vacancies():
    atoms = bulk('MgO', 'rocksalt', a=4.21, cubic=True) * (4, 4, 4)
    oxygen = int(np.flatnonzero(atoms.numbers == 8)[40])
    del atoms[[oxygen, int(np.flatnonzero(atoms.numbers == 12)[10])]]
    return shaken(atoms, 0.05)


def pack(name, edge, count):
    rng = np.random.default_rng(2)
    parts = [molecule(name) for _ in range(count**3)]
    for part, place in zip(parts, np.ndindex(count, count, count), strict=True):
        part.euler_rotate(*rng.uniform(0, 180, 3))
        part.translate(edge * np.array(place) - part.get_center_of_mass())
    atoms = parts[0]
    for part in parts[1:]:
        atoms += part
    atoms.set_cell([edge * count] * 3)
    atoms.pbc = True
    return shaken(atoms, 0.02)


def water():
    return pack('H2O', 3.1, 5)


def methane():
    return pack('CH4', 4.1, 4)


def copper_slab():
    return shaken(fcc111('Cu', (8, 8, 3), vacuum=8.0), 0.06)


def magnesia_slab_with_vacancies():
    """One of each ion is missing, far from one another: the slab is neutral, a patch of it need not be."""
    atoms = bulk('MgO', 'rocksalt', a=4.21, cubic=True) * (5, 5, 2)
    oxygen, magnesium = np.flatnonzero(atoms.numbers == 8)[10], np.flatnonzero(atoms.numbers == 12)[77]
    del atoms[[oxygen, magnesium]]
    atoms.center(vacuum=7.0, axis=2)
    return shaken(atoms, 0.05, 3)


def graphene_layer():
    atoms = shaken(graphene(size=(8, 8, 1), vacuum=8.0), 0.04)
    atoms.pbc = True
    return atoms


def molybdenum_disulfide():
    return shaken(mx2('MoS2', size=(8, 8, 1), vacuum=8.0), 0.04)


def water_on_copper():
    atoms = fcc111('Cu', (5, 5, 3), vacuum=8.0)
    add_adsorbate(atoms, molecule('H2O'), 2.6, 'ontop')
    atoms.pbc = True
    return shaken(atoms, 0.02)


def random_student(elements, cutoff=4.0, functions=12):
    empty = build_potential(sorted(elements), FitConfig(number_of_functions_per_element=functions, cutoff=cutoff))
    return empty.with_coefficients(np.random.default_rng(3).normal(size=sum(empty.n_functions)))
