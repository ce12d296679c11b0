"""One-dimensional cuts through a potential: pairs, trimers and the pulling apart of a crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

J_PER_M2 = units.kJ / 1000.0 / units.m**2  # in eV/Å²
FAR = 50.0  # Å, where atoms no longer see each other
LAYER_THICKNESS = 2.0  # cut-offs, at least, of the crystal on each side of a cut


@dataclass(frozen=True, kw_only=True)
class PairCurve:
    """Two atoms alone: distances (n,) Å; energies (n,) eV above the separated atoms; forces (n,) eV/Å, > 0 repels."""

    pair: str
    distances: Array
    energies: Array
    forces: Array


@dataclass(frozen=True, kw_only=True)
class TrimerCurve:
    """Two atoms at ``bond_length`` Å from a central one: angles (n,) degrees; energies (n,) eV above three atoms."""

    trimer: str
    bond_length: float
    angles: Array
    energies: Array


@dataclass(frozen=True, kw_only=True)
class DecohesionCurve:
    """A crystal cut normal to its third axis: openings (n,) Å; energies (n,) J/m² of the cut, twice the surface energy.

    tractions: (n,) GPa, the stress that holds the halves together, positive where they attract.
    """

    crystal: str
    openings: Array
    energies: Array
    tractions: Array


def pair_curve(calculator: Any, first: str, second: str, distances: ArrayLike) -> PairCurve:
    """Return energy and force of a dimer at ``distances`` (n,) Å."""
    points = np.asarray(distances, dtype=float)
    zero = _energy(calculator, Atoms([first, second], positions=[[0, 0, 0], [0, 0, FAR]]))
    energies, forces = np.zeros(len(points)), np.zeros(len(points))
    for index, distance in enumerate(points):
        atoms = Atoms([first, second], positions=[[0, 0, 0], [0, 0, distance]])
        energies[index] = _energy(calculator, atoms) - zero
        forces[index] = atoms.get_forces()[1, 2]
    return PairCurve(pair=f'{first}-{second}', distances=points, energies=energies, forces=forces)


def trimer_curve(calculator: Any, symbols: tuple[str, str, str], bond_length: float, angles: ArrayLike) -> TrimerCurve:
    """Return the energy of ``symbols`` (end, centre, end), bonds of ``bond_length`` Å, at ``angles`` (n,) degrees."""
    points = np.asarray(angles, dtype=float)
    zero = _energy(calculator, Atoms(symbols, positions=[[0, 0, -FAR], [0, 0, 0], [0, 0, FAR]]))
    energies = np.zeros(len(points))
    for index, angle in enumerate(np.radians(points)):
        ends = bond_length * np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]])
        energies[index] = _energy(calculator, Atoms(symbols, positions=[ends[0], [0, 0, 0], ends[1]])) - zero
    return TrimerCurve(trimer='-'.join(symbols), bond_length=bond_length, angles=points, energies=energies)


def decohesion_curve(calculator: Any, crystal: Atoms, openings: ArrayLike, *, cutoff: float) -> DecohesionCurve:
    """Return the energy of opening ``crystal`` normal to its third axis by ``openings`` (n,) Å, nothing relaxed.

    The crystal is repeated along that axis until the piece between two cuts is two cut-offs (Å) thick. ``ValueError``
    unless it is periodic in three directions.
    """
    if not crystal.pbc.all():
        raise ValueError(f'crystal has pbc {crystal.pbc.tolist()}, expected three periods: give a bulk structure')
    points = np.asarray(openings, dtype=float)
    area = float(np.linalg.norm(np.cross(crystal.cell[0], crystal.cell[1])))
    spacing = float(crystal.get_volume()) / area
    block = crystal * (1, 1, int(np.ceil(LAYER_THICKNESS * cutoff / spacing)))
    block.wrap()
    normal = np.cross(crystal.cell[0], crystal.cell[1]) / area
    closed = _energy(calculator, block.copy())
    energies = np.zeros(len(points))
    for index, opening in enumerate(points):
        opened = block.copy()
        cell = block.cell.array.copy()
        cell[2] += opening * normal
        opened.set_cell(cell)
        energies[index] = (_energy(calculator, opened) - closed) / area
    tractions = np.gradient(energies, points) / units.GPa if len(points) > 1 else np.zeros(len(points))
    return DecohesionCurve(
        crystal=crystal.get_chemical_formula(), openings=points, energies=energies / J_PER_M2, tractions=tractions
    )


def pairs_of(elements: Sequence[str]) -> list[tuple[str, str]]:
    """Return every pair of ``elements`` once."""
    return [(first, second) for index, first in enumerate(elements) for second in elements[index:]]


def _energy(calculator: Any, atoms: Atoms) -> float:
    atoms.calc = calculator
    return float(atoms.get_potential_energy())
