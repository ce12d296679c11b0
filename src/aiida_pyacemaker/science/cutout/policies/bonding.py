"""How the atoms around an epicentre hold together, told from elements, distances and vacuum."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ...images import Images, bonded_neighbours, images_near, longest_bond
from ..charges import NOBLE, NONMETALS, electronegativity
from ..label_geometry import CutRequest

MARGIN_BONDS = 2
SMALLEST_LOOK_A = 8.0  # less does not tell a molecule at the rim from a network
IONIC_DIFFERENCE = 1.45  # on Pauling's scale: AlN is below, SnO2 above
IONIC_DIFFERENCE_OXIDES = 1.0  # oxides and halides: AgBr is above
OXIDE_FORMERS = frozenset(('O', 'F', 'Cl', 'Br', 'I'))
OPEN_COORDINATION = 4.6  # bonds an atom: compounds with more are packed, not bonded
LARGEST_ADSORBATE = 12  # atoms
PURE_METAL, SOME_METAL = 0.5, 0.1  # of the metal atoms, those without a nonmetal beside them


@dataclass(frozen=True, kw_only=True)
class Bonding:
    """The class of a neighbourhood and why: covalent, molecular, metal, ionic or mixed; and whether it is a slab."""

    kind: str
    why: str
    is_slab: bool = False


def classify(request: CutRequest) -> Bonding:
    """Return the bonding class of what lies within core and buffer of the epicentre, two bonds further at most."""
    config, frame = request.config, request.frame
    inner = max(config.core_radius + config.buffer_radius, SMALLEST_LOOK_A)
    bond = longest_bond(frame.elements)
    images = images_near(frame, request.epicentre, np.zeros((1, 3)), radius=inner + MARGIN_BONDS * bond)
    is_slab = int(frame.vacuum.sum()) == 1
    kind, why = _classify_images(images, edge=inner + (MARGIN_BONDS - 1) * bond)
    return Bonding(kind=kind, why=why, is_slab=is_slab)


def components(images: Images, neighbours: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Return (n,) the number of the connected piece of the bond graph that each row belongs to."""
    counts = [len(row) for row in neighbours]
    first = np.repeat(np.arange(len(images)), counts)
    second = np.concatenate(neighbours) if first.size else first
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(images), len(images)))
    return np.asarray(connected_components(graph, directed=False)[1])


def small_molecules(images: Images, neighbours: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Return (n,) the number of the molecule of 2 to ``LARGEST_ADSORBATE`` nonmetal atoms that a row belongs to, or -1.

    Bonds to metals do not count.
    """
    is_nonmetal = np.array([chemical_symbols[number] in NONMETALS for number in images.numbers])
    among = tuple(row[is_nonmetal[row]] if is_nonmetal[k] else row[:0] for k, row in enumerate(neighbours))
    pieces = components(images, among)
    sizes = np.bincount(pieces)[pieces]
    return np.where((sizes >= 2) & (sizes <= LARGEST_ADSORBATE), pieces, -1)


def _classify_images(images: Images, *, edge: float) -> tuple[str, str]:
    """Return class and reason; pieces of the bond graph that reach beyond ``edge`` (Å) go on for ever."""
    neighbours = bonded_neighbours(images)
    is_nonmetal = np.array([chemical_symbols[number] in NONMETALS for number in images.numbers])
    distances = np.linalg.norm(images.positions, axis=1)
    if not is_nonmetal.any():
        return 'metal', 'metals only'
    if is_nonmetal.all():
        return _classify_nonmetals(images, components(images, neighbours), distances, edge)
    inside = np.flatnonzero(distances <= edge)
    return _classify_compound(images, neighbours, is_nonmetal, inside)


def _classify_nonmetals(
    images: Images, pieces: NDArray[np.int64], distances: NDArray[np.float64], edge: float
) -> tuple[str, str]:
    endless = np.unique(pieces[distances > edge])
    near = np.unique(pieces[distances <= edge])
    in_network = np.isin(pieces, endless) & np.isin(pieces, near)
    finite = ~np.isin(pieces, endless)
    if not in_network.any() or not _is_network(pieces, in_network, distances, edge):
        return 'molecular', 'pieces that are bonded to nothing else'
    foreign = set(images.numbers[finite].tolist()) - set(images.numbers[in_network].tolist())
    if foreign:
        names = ', '.join(sorted(chemical_symbols[number] for number in foreign))
        return 'mixed', f'molecules with {names} beside a covalent network'
    return 'covalent', 'a network of nonmetals'


def _is_network(
    pieces: NDArray[np.int64], in_network: NDArray[np.bool_], distances: NDArray[np.float64], edge: float
) -> bool:
    """Say whether a piece that leaves the sphere also comes from deep inside it: molecules at the rim only touch it."""
    return any(
        np.ptp(distances[pieces == piece]) > edge / 2 for piece in np.unique(pieces[in_network & (distances <= edge)])
    )


def _classify_compound(
    images: Images, neighbours: tuple[NDArray[np.int64], ...], is_nonmetal: NDArray[np.bool_], inside: NDArray[np.int64]
) -> tuple[str, str]:
    """Return class and reason of metals with nonmetals; ``inside``: the rows all whose bonds are known."""
    metals = [row for row in inside if not is_nonmetal[row]]
    pure = np.mean([not is_nonmetal[neighbours[row]].any() for row in metals]) if metals else 0.0
    polyatomic = any(is_nonmetal[row] and is_nonmetal[neighbours[row]].any() for row in inside)
    if pure > PURE_METAL and not polyatomic:
        return 'metal', 'single nonmetals dissolved in metals'
    if pure > SOME_METAL:
        return 'mixed', 'a metal beside molecules or beside a compound'
    scale = electronegativity(images.numbers)
    difference = float(scale[is_nonmetal].mean() - scale[~is_nonmetal].mean())
    symbols = {chemical_symbols[number] for number in images.numbers[is_nonmetal]}
    needed = IONIC_DIFFERENCE_OXIDES if symbols <= OXIDE_FORMERS else IONIC_DIFFERENCE
    told = f'electronegativities differ by {difference:.2f}'
    if difference >= needed:
        return ('mixed', f'{told}, with molecular ions') if polyatomic else ('ionic', told)
    coordination = float(np.mean([len(neighbours[row]) for row in inside]))
    told = f'{told}, {coordination:.1f} bonds an atom'
    return ('covalent', told) if coordination <= OPEN_COORDINATION else ('metal', told)


def can_be_covalent(elements: Collection[str]) -> bool:
    """Return whether some arrangement of ``elements`` is a covalent network, of which caps would be asked."""
    network = NONMETALS - NOBLE - OXIDE_FORMERS - {'H'}
    return bool(set(elements) & network)
