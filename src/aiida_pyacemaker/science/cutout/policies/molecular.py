"""Whole molecules in a box, no bond cut: molecular liquids and solids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError, TooLargeError
from ..shells import Surroundings, survey
from .covalent import in_cube
from .pieces import CONTACT_A, LARGEST_RADIUS_A, OPEN_SHELL, REACH_BONDS, Pieces, find_pieces, gaps, name_if_open

MARGIN_BONDS = 4  # what a molecule may reach beyond the buffer, in the first place
LONGEST_CONTACT_A = 2 * LARGEST_RADIUS_A + CONTACT_A


def cut_molecular(request: CutRequest) -> LabelGeometry:
    """Return the molecules of the core and, nearest first, those that touch them.

    Core and frozen shell are all of the molecules that the core touches. What is in van der Waals contact with a core
    atom (``CONTACT_A`` beyond the sum of the radii) is always taken, and the nearest molecule where nothing is. Of
    what is in contact with the rest of these molecules, or within ``buffer_radius``, the furthest are left out until
    ``max_label_atoms`` holds. Raises :class:`TooLargeError` when that does not suffice, and
    :class:`RejectedCutoutError` for a piece that goes on for ever or may be charged.
    """
    near, pieces, needed, wanted = _find_molecules(request)
    _check_closed(near, pieces, [*_of_core(near, pieces), *needed, *wanted])
    limit = request.config.max_label_atoms
    inner = {row for piece in _of_core(near, pieces) for row in pieces.rows(piece)}
    members, left_out = inner | {row for piece in needed for row in pieces.rows(piece)}, 0
    if len(members) > limit:
        raise TooLargeError(
            f'the molecules of the core and what touches the core have {len(members)} atoms, max_label_atoms is '
            f'{limit}: raise it or lower core_radius'
        )
    for piece in wanted:
        whole = set(pieces.rows(piece))
        if len(members) + len(whole) > limit:
            left_out += len(whole)
            continue
        members |= whole
    rows = sorted(members)
    near = replace(near, protected=frozenset(inner))
    return LabelGeometry(
        atoms=in_cube(near.images.numbers[rows], near.images.positions[rows], request.config),
        policy='molecular',
        shell=np.array(near.tags(rows), dtype=np.int8),
        parents=near.images.parents[rows],
        boundary=np.zeros(len(rows), dtype=bool),
        report={'n_molecules': len(np.unique(pieces.of_row[rows])), 'n_buffer_left_out': left_out},
    )


def _find_molecules(request: CutRequest) -> tuple[Surroundings, Pieces, list[int], list[int]]:
    """Return surroundings that hold every molecule that is asked for as a whole, their pieces, and which are asked for.

    The pieces that touch core atoms, without which there is no label; then those that are taken as far as they fit in.
    """
    near = survey(request, margin_bonds=MARGIN_BONDS)
    limit = request.config.max_label_atoms
    touch = max(request.config.buffer_radius, LONGEST_CONTACT_A)
    while True:
        pieces = find_pieces(near.images, near.neighbours, rim=near.reach - REACH_BONDS * near.bond, limit=limit)
        core = _of_core(near, pieces)
        needed, wanted = _outer_pieces(near, pieces, core, request.config.buffer_radius)
        used = [*core, *needed, *wanted]
        if pieces.endless[used].any():
            raise RejectedCutoutError(
                f'a molecule goes on beyond {limit} atoms (max_label_atoms) or is bonded to its own periodic image'
            )
        own = np.isin(pieces.of_row, core)
        seen = np.linalg.norm(near.images.positions[own], axis=1).max() + touch <= near.reach
        if seen and not pieces.unfinished[used].any():
            return near, pieces, needed, wanted
        near = survey(request, margin_bonds=MARGIN_BONDS, reach=near.reach + MARGIN_BONDS * near.bond)


def _of_core(near: Surroundings, pieces: Pieces) -> list[int]:
    return [int(piece) for piece in np.unique(pieces.of_row[sorted(near.core)])]


def _outer_pieces(
    near: Surroundings, pieces: Pieces, core: list[int], buffer_radius: float
) -> tuple[list[int], list[int]]:
    """Return the other pieces that touch core atoms, or the nearest one, and the rest about the core's molecules."""
    foreign = ~np.isin(pieces.of_row, core)
    if not foreign.any():
        return [], []
    lengths, beyond = gaps(near.images, sorted(near.core))
    touching = foreign & (beyond <= CONTACT_A)
    if not touching.any():
        touching = foreign & (lengths == lengths[foreign].min())
    needed = {int(piece) for piece in pieces.of_row[touching]}
    lengths, beyond = gaps(near.images, np.flatnonzero(~foreign).tolist())
    closest: dict[int, float] = {}
    for row in np.flatnonzero(foreign & ((lengths <= buffer_radius) | (beyond <= CONTACT_A))).tolist():
        piece = int(pieces.of_row[row])
        closest[piece] = min(closest.get(piece, np.inf), float(lengths[row]))
    wanted = sorted(closest.keys() - needed, key=lambda piece: (closest[piece], piece))
    return sorted(needed), wanted


def _check_closed(near: Surroundings, pieces: Pieces, asked: list[int]) -> None:
    """Refuse a piece that may be charged: in a label it would be neutral."""
    for piece in asked:
        formula = name_if_open(near.images.numbers[pieces.rows(piece)])
        if formula:
            raise RejectedCutoutError(f'{formula} {OPEN_SHELL}')
