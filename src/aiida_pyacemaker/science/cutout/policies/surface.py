"""A piece of a slab or a layer, periodic in its plane, with its vacuum: surfaces and two-dimensional solids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...images import FrameIndex
from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError
from .bonding import classify
from .box import assemble_box, crystal_box, survey_box, wanted_distances
from .ionic import formal_charges, neutralise
from .translations import find_translations

Array = NDArray[np.float64]


def cut_surface(request: CutRequest) -> LabelGeometry:
    """Return all layers of the slab under a patch about the epicentre, with the vacuum that the frame has.

    The patch is cut along translations in the plane that map the slab onto itself; one of ions is neutral as a box in
    the bulk is, by :func:`neutralise`. Raises :class:`RejectedCutoutError` for a frame without exactly one open
    direction, when nothing repeats in the plane, or when ions cannot be made neutral.
    """
    frame, config = request.frame, request.config
    open_axes = np.flatnonzero(frame.vacuum)
    if len(open_axes) != 1:
        raise RejectedCutoutError(
            f'a surface needs a frame that is open in one direction and periodic in two, it is open in {len(open_axes)}'
        )
    ions = formal_charges(frame.atoms.numbers) if classify(request).kind == 'ionic' else None
    axis = int(open_axes[0])
    slab = replace(request, frame=frame.slab)
    third, normal, thickness = _third_vector(slab.frame, axis, config.vacuum)
    near, shortest, longest = survey_box(slab, further=thickness)
    found = find_translations(near.images, shortest=shortest, longest=longest, normal=normal)
    box = crystal_box(near, found, wanted_distances(shortest, config), config.max_label_atoms, third)
    charges: dict[str, Any] = {}
    if ions:
        box, charges = neutralise(near, box, *ions)
    plane = np.linalg.norm(np.cross(*np.delete(frame.cell, axis, axis=0)))
    density = len(frame.atoms) / float(plane * abs(third @ normal))
    pbc = (True, True, bool(frame.atoms.pbc[axis]))
    label = assemble_box(near, box, policy='surface', pbc=pbc, density=density)
    return replace(label, report={**label.report, **charges})


def _third_vector(slab: FrameIndex, axis: int, vacuum: float) -> tuple[Array, Array, float]:
    """Return the cell vector across the slab (Å), the unit vector across it, and how thick the slab is (Å).

    A vector that is missing is made, with ``vacuum`` on both sides.
    """
    normal = np.cross(*np.delete(slab.cell, axis, axis=0))
    normal = normal / np.linalg.norm(normal)
    thickness = float(np.ptp(slab.wrapped @ normal))
    vector = np.asarray(slab.atoms.cell[axis])
    if not vector.any():
        vector = normal * (thickness + 2 * vacuum)
    return vector, normal, thickness
