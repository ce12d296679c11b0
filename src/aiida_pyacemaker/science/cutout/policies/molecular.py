"""Whole molecules in a box, no bond cut: molecular liquids and solids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError, TooLargeError
from ..shells import Surroundings, survey
from .bonding import components
from .covalent import in_cube

MARGIN_BONDS = 4  # what a molecule may reach beyond the buffer


def cut_molecular(request: CutRequest) -> LabelGeometry:
    """Return the molecules of the core, and nearest first those with an atom within ``buffer_radius`` of these.

    Core and frozen shell are all of the molecules that the core touches; the furthest of the others are left out until
    ``max_label_atoms`` holds. Raises :class:`RejectedCutoutError` when a piece goes on beyond what was looked at, or
    the molecules of the core alone are too many.
    """
    near = survey(request, margin_bonds=MARGIN_BONDS)
    pieces = components(near.images, near.neighbours)
    inner = set(np.flatnonzero(np.isin(pieces, pieces[sorted(near.core)])).tolist())
    config = request.config
    if len(inner) > config.max_label_atoms:
        raise TooLargeError(
            f'the molecules of the core have {len(inner)} atoms, max_label_atoms is {config.max_label_atoms}'
        )
    members, left_out = set(inner), 0
    for piece in _outer_pieces(near, pieces, inner, config.buffer_radius):
        whole = set(np.flatnonzero(pieces == piece).tolist())
        if len(members) + len(whole) > config.max_label_atoms:
            left_out += len(whole)
            continue
        members |= whole
    _check_whole(near, members)
    rows = sorted(members)
    near = replace(near, protected=frozenset(inner))
    return LabelGeometry(
        atoms=in_cube(near.images.numbers[rows], near.images.positions[rows], config),
        policy='molecular',
        shell=np.array(near.tags(rows), dtype=np.int8),
        parents=near.images.parents[rows],
        boundary=np.zeros(len(rows), dtype=bool),
        report={'n_molecules': len(np.unique(pieces[rows])), 'n_buffer_left_out': left_out},
    )


def _outer_pieces(near: Surroundings, pieces: np.ndarray, inner: set[int], radius: float) -> list[int]:
    """Return the other pieces with an atom within ``radius`` (Å) of ``inner``, nearest first."""
    inside = near.images.positions[sorted(inner)]
    gaps = np.linalg.norm(near.images.positions[:, None] - inside[None], axis=2).min(axis=1)
    closest: dict[int, float] = {}
    for row in np.flatnonzero(gaps <= radius).tolist():
        if row not in inner:
            closest[int(pieces[row])] = min(closest.get(int(pieces[row]), np.inf), float(gaps[row]))
    return sorted(closest, key=lambda piece: (closest[piece], piece))


def _check_whole(near: Surroundings, members: set[int]) -> None:
    """Refuse a molecule that comes within a bond of the rim: it may go on."""
    distances = np.linalg.norm(near.images.positions, axis=1)
    rim = near.reach - near.bond
    if distances[sorted(members)].max() > rim:
        raise RejectedCutoutError(f'a molecule goes on beyond the {rim:.1f} Å about the epicentre that were looked at')
