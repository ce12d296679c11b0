"""Crystal structure types as fractional coordinates, and the lattice parameter that radii suggest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

_FCC = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_BCC = ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5))
_CUBIC = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_HCP = ((1.0, 0.0, 0.0), (-0.5, 3**0.5 / 2, 0.0), (0.0, 0.0, (8 / 3) ** 0.5))
_RUTILE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.644))  # c/a and u of TiO2: doi 10.1021/ja00246a021
_U = 0.305


@dataclass(frozen=True, kw_only=True)
class StructureType:
    """Cell vectors in units of the lattice parameter, fractional sites, and the species of each site by number.

    ``orders`` are the distinct ways to put as many different elements on the species.
    """

    cell: tuple[tuple[float, float, float], ...]
    sites: tuple[tuple[float, float, float], ...]
    species: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]

    @property
    def n_elements(self) -> int:
        """Return how many different elements it takes."""
        return max(self.species) + 1

    def build(self, elements: Sequence[str]) -> Atoms:
        """Return the crystal of ``elements`` (one a species), its closest pair at the sum of their covalent radii."""
        symbols = [elements[kind] for kind in self.species]
        unit = Atoms(symbols, cell=np.array(self.cell), scaled_positions=self.sites, pbc=True)
        first, second, distance = neighbor_list('ijd', unit, 1.5)
        radii = covalent_radii[unit.numbers]
        unit.set_cell(unit.cell.array * ((radii[first] + radii[second]) / distance).max(), scale_atoms=True)
        return unit


def _binary(
    cell: tuple[tuple[float, float, float], ...], sites: Sequence[Sequence[float]], species: str, *, both: bool = False
) -> StructureType:
    orders = ((0, 1), (1, 0)) if both else ((0, 1),)
    return _structure(cell, sites, species, orders)


def _structure(
    cell: tuple[tuple[float, float, float], ...],
    sites: Sequence[Sequence[float]],
    species: str,
    orders: tuple[tuple[int, ...], ...] = ((0,),),
) -> StructureType:
    triples = tuple((float(x), float(y), float(z)) for x, y, z in sites)
    return StructureType(cell=cell, sites=triples, species=tuple('ABC'.index(kind) for kind in species), orders=orders)


_ORIGIN, _QUARTER, _HALF, _THREE = (0, 0, 0), (0.25,) * 3, (0.5,) * 3, (0.75,) * 3
_FACES = ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
_RUTILE_SITES = (
    *(_ORIGIN, _HALF),
    *((_U, _U, 0), (1 - _U, 1 - _U, 0), (0.5 + _U, 0.5 - _U, 0.5), (0.5 - _U, 0.5 + _U, 0.5)),
)
_ONE_OF_THREE = ((0, 1, 2), (1, 0, 2), (2, 0, 1))

STRUCTURE_TYPES: dict[str, StructureType] = {
    'fcc': _structure(_FCC, [_ORIGIN], 'A'),
    'bcc': _structure(_BCC, [_ORIGIN], 'A'),
    'hcp': _structure(_HCP, [_ORIGIN, (1 / 3, 2 / 3, 0.5)], 'AA'),
    'diamond': _structure(_FCC, [_ORIGIN, _QUARTER], 'AA'),
    'sc': _structure(_CUBIC, [_ORIGIN], 'A'),
    'B1': _binary(_FCC, [_ORIGIN, _HALF], 'AB'),
    'B2': _binary(_CUBIC, [_ORIGIN, _HALF], 'AB'),
    'B3': _binary(_FCC, [_ORIGIN, _QUARTER], 'AB'),
    'L1_0': _binary(((0.5, 0.5, 0.0), (-0.5, 0.5, 0.0), (0.0, 0.0, 1.0)), [_ORIGIN, _HALF], 'AB'),
    'L1_2': _binary(_CUBIC, [_ORIGIN, *_FACES], 'ABBB', both=True),
    'D0_3': _binary(_FCC, [_ORIGIN, _QUARTER, _HALF, _THREE], 'ABBB', both=True),
    'C1': _binary(_FCC, [_ORIGIN, _QUARTER, _THREE], 'ABB', both=True),
    'rutile': _binary(_RUTILE, _RUTILE_SITES, 'AABBBB', both=True),
    'C1_b': _structure(_FCC, [_QUARTER, _ORIGIN, _HALF], 'ABC', _ONE_OF_THREE),
    'L2_1': _structure(_FCC, [_ORIGIN, _HALF, _QUARTER, _THREE], 'ABCC', ((0, 1, 2), (0, 2, 1), (1, 2, 0))),
    'perovskite': _structure(_CUBIC, [_ORIGIN, _HALF, *_FACES], 'ABCCC', tuple(permutations(range(3)))),
}


def crystals_of(elements: Sequence[str], names: Sequence[str] = ()) -> Iterator[tuple[str, Atoms]]:
    """Yield name and crystal of every structure type (of ``names``; all when empty) of exactly these elements."""
    for name in names or STRUCTURE_TYPES:
        kind = STRUCTURE_TYPES[name]
        if kind.n_elements == len(elements):
            for order in kind.orders:
                yield name, kind.build([elements[index] for index in order])


def lattice_volume(name: str, symbol: str) -> float:
    """Return the volume per atom (Å³) that the radius of an element suggests for a structure type of one element."""
    atoms = STRUCTURE_TYPES[name].build([symbol])
    return float(atoms.get_volume() / len(atoms))
