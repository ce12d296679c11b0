"""Connected pieces of the bond graph: what is a molecule, what goes on for ever, what touches, what may be charged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii, vdw_radii
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from ...images import BOND_FACTOR, Images
from ..charges import NOBLE

CONTACT_A = 0.5  # beyond the sum of the van der Waals radii: hot molecules that touch
STRETCHED = 1.6  # covalent sums: a hot bond of an atom that has no other; H2 vibrates beyond BOND_FACTOR
REACH_BONDS = STRETCHED / BOND_FACTOR  # longest bonds
LARGEST_RADIUS_A = 2.5  # of an element whose van der Waals radius nobody tabulated
OPEN_SHELL = 'is an ion or a radical, having an odd number of electrons or being a lone atom'


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """The pieces of some images.

    of_row: (n,) the piece of each row; endless: (m,) which hold more atoms than asked about, or are bonded to an image
    of themselves; unfinished: (m,) which of the others may go on beyond the images.
    """

    of_row: NDArray[np.int64]
    endless: NDArray[np.bool_]
    unfinished: NDArray[np.bool_]

    def rows(self, piece: int) -> list[int]:
        """Return the rows of one piece."""
        return [int(row) for row in np.flatnonzero(self.of_row == piece)]


def find_pieces(images: Images, neighbours: tuple[NDArray[np.int64], ...], *, rim: float, limit: int) -> Pieces:
    """Return the pieces of the bond graph; ``images`` has all that is bonded to rows within ``rim`` (Å).

    ``rim`` is ``REACH_BONDS`` of the longest bond from where the images end. A hydrogen without bonds belongs to the
    nearest atom within ``STRETCHED`` covalent sums, another atom without to one alike. limit: a piece of more atoms is
    called endless.
    """
    of_row = components(images, _with_stretched(images, neighbours))
    sizes = np.bincount(of_row)
    distinct = np.unique(np.stack([of_row, images.parents]), axis=1)[0]
    endless = (sizes > limit) | (np.bincount(distinct) < sizes)
    furthest = np.zeros(len(sizes))
    np.maximum.at(furthest, of_row, np.linalg.norm(images.positions, axis=1))
    return Pieces(of_row=of_row, endless=endless, unfinished=~endless & (furthest > rim))


def components(images: Images, neighbours: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Return (n,) the number of the connected piece of the bond graph that each row belongs to."""
    counts = [len(row) for row in neighbours]
    first = np.repeat(np.arange(len(images)), counts)
    second = np.concatenate(neighbours) if first.size else first
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(images), len(images)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _with_stretched(images: Images, neighbours: tuple[NDArray[np.int64], ...]) -> tuple[NDArray[np.int64], ...]:
    """Return ``neighbours`` where atoms that had none have one, if it is there; noble gases stay alone."""
    lone = [row for row, bonded in enumerate(neighbours) if not len(bonded) and not _is_noble(images.numbers[row])]
    found = list(neighbours)
    for row in lone:
        lengths = np.linalg.norm(images.positions - images.positions[row], axis=1)
        shares = lengths / (covalent_radii[images.numbers] + covalent_radii[images.numbers[row]])
        shares[row] = np.inf
        if images.numbers[row] != 1:
            shares[images.numbers != images.numbers[row]] = np.inf
        nearest = int(shares.argmin())
        if shares[nearest] <= STRETCHED and not _is_noble(images.numbers[nearest]):
            found[row] = np.array([nearest])
    return tuple(found)


def _is_noble(number: int) -> bool:
    return chemical_symbols[number] in NOBLE


def gaps(images: Images, rows: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n,) Å, how far each image is from the nearest of ``rows``, and how far beyond van der Waals contact."""
    radii = np.nan_to_num(vdw_radii[images.numbers], nan=LARGEST_RADIUS_A)
    lengths = cdist(images.positions, images.positions[rows])
    return lengths.min(axis=1), (lengths - radii[:, None] - radii[rows]).min(axis=1)


def name_if_open(numbers: NDArray[np.int64]) -> str:
    """Return the formula of a piece that is no neutral molecule with a closed shell, '' for one that may be.

    An odd number of electrons makes it a radical or an ion; so is a single atom of anything but a noble gas. Ions
    with an even number, as SO4, are not told, but for what they stand beside: NH4 or H3O has an odd one.
    """
    lone = len(numbers) == 1 and not _is_noble(numbers[0])
    return str(Atoms(numbers=numbers).symbols.get_chemical_formula()) if lone or numbers.sum() % 2 else ''
