"""Core, first neighbours and buffer around an epicentre: the same in every policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..config import CutoutConfig
from ..frames import SHELL_BUFFER, SHELL_CORE, SHELL_FROZEN
from ..images import Images, bonded_neighbours, images_near, longest_bond
from .label_geometry import CutRequest, TooLargeError


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Everything near an epicentre: images, the rows each is bonded to, and the shells as rows.

    protected: core and its first neighbours, which nothing moves; buffer: within ``buffer_radius`` of these, nearest
    first; reach: Å that was looked at; bond: Å, the longest that any two of these elements can have.
    """

    images: Images
    neighbours: tuple[NDArray[np.int64], ...]
    core: frozenset[int]
    protected: frozenset[int]
    buffer: tuple[int, ...]
    reach: float
    bond: float

    def tags(self, rows: Sequence[int]) -> list[int]:
        """Return the shell of each of ``rows``: what is neither core nor frozen is buffer."""
        return [self._tag(row) for row in rows]

    def _tag(self, row: int) -> int:
        if row in self.core:
            return SHELL_CORE
        return SHELL_FROZEN if row in self.protected else SHELL_BUFFER


def survey(request: CutRequest, *, margin_bonds: int, reach: float = 0.0) -> Surroundings:
    """Return the shells about the epicentre and what lies up to ``margin_bonds`` bonds beyond the buffer.

    reach: Å, look as far as that if it is further.
    Raises :class:`TooLargeError` when the core holds an atom and its own image.
    """
    config, frame = request.config, request.frame
    bond = longest_bond(frame.elements)
    reach = max(reach, config.core_radius + config.buffer_radius + (1 + margin_bonds) * bond)
    images = images_near(frame, request.epicentre, np.zeros((1, 3)), radius=reach)
    neighbours = bonded_neighbours(images)
    core, protected, buffer = _shells(images, neighbours, config)
    if len(set(images.parents[sorted(core)])) < len(core):
        raise TooLargeError(
            f'the core of radius {config.core_radius} Å about atom {request.epicentre} wraps the periodic box'
        )
    return Surroundings(
        images=images, neighbours=neighbours, core=core, protected=protected, buffer=buffer, reach=reach, bond=bond
    )


def _shells(
    images: Images, neighbours: Sequence[NDArray[np.int64]], config: CutoutConfig
) -> tuple[frozenset[int], frozenset[int], tuple[int, ...]]:
    distances = np.linalg.norm(images.positions, axis=1)
    core = frozenset({0, *np.flatnonzero(distances <= config.core_radius).tolist()})
    protected = core | {int(other) for row in core for other in neighbours[row]}
    gaps = cKDTree(images.positions[sorted(protected)]).query(images.positions)[0]
    buffer = tuple(row for row in np.flatnonzero(gaps <= config.buffer_radius).tolist() if row not in protected)
    return core, protected, buffer
