"""How the atoms around an epicentre hold together, told from elements, distances and vacuum."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ...images import Images, bonded_neighbours, images_near, longest_bond
from ..charges import NOBLE, NONMETALS, electronegativity
from ..label_geometry import CutRequest
from .pieces import OPEN_SHELL, REACH_BONDS, Pieces, components, find_pieces, name_if_open

MARGIN_BONDS = 2
FURTHER_BONDS = 4  # more that is looked at, a time, to find the end of a molecule
SMALLEST_LOOK_A = 8.0  # less does not tell a molecule at the rim from a network
IONIC_DIFFERENCE = 1.45  # on Pauling's scale: AlN is below, SnO2 above
IONIC_DIFFERENCE_OXIDES = 1.0  # oxides and halides: AgBr is above
OXIDE_FORMERS = frozenset(('O', 'F', 'Cl', 'Br', 'I'))
OPEN_COORDINATION = 4.6  # bonds an atom: compounds with more are packed, not bonded
LARGEST_ADSORBATE = 12  # atoms
PURE_METAL, SOME_METAL = 0.5, 0.1  # of the metal atoms, those without a nonmetal beside them


@dataclass(frozen=True, kw_only=True)
class Bonding:
    """The class of a neighbourhood and why: covalent, molecular, metal, ionic or mixed; and how many directions end."""

    kind: str
    why: str
    n_open: int = 0


def classify(request: CutRequest) -> Bonding:
    """Return the bonding class of what lies within core and buffer of the epicentre, two bonds further at most.

    Pieces of nonmetals are followed until they end, or have more than ``max_label_atoms``: these are networks.
    """
    config, frame = request.config, request.frame
    inner = max(config.core_radius + config.buffer_radius, SMALLEST_LOOK_A)
    bond = longest_bond(frame.elements)
    images = images_near(frame, request.epicentre, np.zeros((1, 3)), radius=inner + MARGIN_BONDS * bond)
    edge = inner + (MARGIN_BONDS - 1) * bond
    n_open = int(frame.vacuum.sum())
    is_nonmetal = np.array([chemical_symbols[number] in NONMETALS for number in images.numbers])
    if not is_nonmetal.any():
        kind, why = 'metal', 'metals only'
    elif is_nonmetal.all():
        kind, why = _classify_nonmetals(*_follow_pieces(request, edge, bond), edge)
    else:
        inside = np.flatnonzero(np.linalg.norm(images.positions, axis=1) <= edge)
        kind, why = _classify_compound(images, bonded_neighbours(images), is_nonmetal, inside)
    return Bonding(kind=kind, why=why, n_open=n_open)


def small_molecules(images: Images, neighbours: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Return (n,) the number of the molecule of 2 to ``LARGEST_ADSORBATE`` nonmetal atoms that a row belongs to, or -1.

    Bonds to metals do not count.
    """
    is_nonmetal = np.array([chemical_symbols[number] in NONMETALS for number in images.numbers])
    among = tuple(row[is_nonmetal[row]] if is_nonmetal[k] else row[:0] for k, row in enumerate(neighbours))
    pieces = components(images, among)
    sizes = np.bincount(pieces)[pieces]
    return np.where((sizes >= 2) & (sizes <= LARGEST_ADSORBATE), pieces, -1)


def _classify_nonmetals(images: Images, pieces: Pieces, edge: float) -> tuple[str, str]:
    """Return class and reason of nonmetals by the pieces that come within ``edge`` (Å)."""
    inside = np.unique(pieces.of_row[np.linalg.norm(images.positions, axis=1) <= edge])
    finite = inside[~pieces.endless[inside]]
    if len(finite) == len(inside):
        formulas = {name_if_open(images.numbers[pieces.rows(piece)]) for piece in inside} - {''}
        if formulas:
            return 'mixed', f'{", ".join(sorted(formulas))} {OPEN_SHELL}'
        return 'molecular', 'pieces that are bonded to nothing else'
    in_network = np.isin(pieces.of_row, inside[pieces.endless[inside]])
    network = {chemical_symbols[number] for number in images.numbers[in_network]}
    if not can_be_covalent(network):
        return 'mixed', f'contacts of {", ".join(sorted(network))} that are as short as bonds'
    in_molecules = np.isin(pieces.of_row, finite)
    foreign = {chemical_symbols[number] for number in images.numbers[in_molecules]} - network
    if foreign:
        return 'mixed', f'molecules with {", ".join(sorted(foreign))} beside a covalent network'
    return 'covalent', 'a network of nonmetals'


def _follow_pieces(request: CutRequest, edge: float, bond: float) -> tuple[Images, Pieces]:
    """Return images as far as every piece that comes within ``edge`` (Å) is known to end or to be too large."""
    reach = edge + REACH_BONDS * bond
    while True:
        images = images_near(request.frame, request.epicentre, np.zeros((1, 3)), radius=reach)
        pieces = find_pieces(
            images, bonded_neighbours(images), rim=reach - REACH_BONDS * bond, limit=request.config.max_label_atoms
        )
        inside = np.linalg.norm(images.positions, axis=1) <= edge
        if not pieces.unfinished[pieces.of_row[inside]].any():
            return images, pieces
        reach += FURTHER_BONDS * bond


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
