"""A periodic box cut from the frame, without caps: metals."""

from __future__ import annotations

import numpy as np

from ...images import FrameIndex
from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError
from ..shells import Surroundings
from .box import (
    CLOSEST_PACKING,
    LONGEST_FACTOR,
    Box,
    assemble_box,
    check_room,
    crystal_box,
    disordered_box,
    local_density,
    survey_box,
    wanted_distances,
)
from .translations import Translations, find_translations

OWN_TRANSLATION = 0.02  # of a cell vector: refined translations are that sure


def cut_metal(request: CutRequest) -> LabelGeometry:
    """Return a periodic box that holds core and first neighbours as they are.

    A crystal, however hot, is cut along translations that map it onto itself, so that an atom at a seam has the
    neighbours it had, up to their thermal motion; a liquid or a glass fills a cube of the right density. The atoms
    whose neighbours across the seam are more than half an Ångström off are left to the teacher. Raises
    :class:`RejectedCutoutError` for a frame that is not periodic in all directions, or with vacuum.
    """
    near, box, density = find_box(request)
    return assemble_box(near, box, policy='metal', pbc=(True, True, True), density=density)


def find_box(request: CutRequest) -> tuple[Surroundings, Box, float]:
    """Return surroundings, the box in them, and the density (atoms/Å³) around it."""
    config = request.config
    check_periodic(request)
    near, shortest, longest = survey_box(request)
    density = local_density(near.images, longest)
    check_room(shortest, density, config.max_label_atoms)
    need = wanted_distances(shortest, config)
    longest = min(longest, LONGEST_FACTOR * (CLOSEST_PACKING * config.max_label_atoms / density) ** (1 / 3))
    found = find_translations(near.images, shortest=shortest, longest=longest)
    if len(found) >= 3 and _repeats_inside(request.frame, found):
        return near, crystal_box(near, found, need, config.max_label_atoms, None), density
    return near, disordered_box(near.images, need, config.max_label_atoms, near.protected, density), density


def _repeats_inside(frame: FrameIndex, found: Translations) -> bool:
    """Say whether a translation is more than one of the frame's own, which map even a liquid onto itself."""
    places = found.vectors @ np.linalg.inv(frame.cell)
    return bool((np.abs(places - np.round(places)).max(axis=1) > OWN_TRANSLATION).any())


def check_periodic(request: CutRequest) -> None:
    """Refuse a frame that ends somewhere."""
    frame = request.frame
    if not frame.atoms.pbc.all():
        pbc = np.asarray(frame.atoms.pbc).tolist()
        raise RejectedCutoutError(f'a periodic box needs a frame that is periodic in all directions, pbc is {pbc}')
    if frame.vacuum.any():
        axes = ', '.join('abc'[axis] for axis in np.flatnonzero(frame.vacuum))
        raise RejectedCutoutError(f'a periodic box cannot be cut beside vacuum: the frame is empty along {axes}')
