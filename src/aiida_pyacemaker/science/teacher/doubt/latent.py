"""How far an atom is, in the teacher's own features, from atoms that the teacher is at home with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...frames import Frames
from ..committee import Teacher
from ..labels import atom_features

Array = NDArray[np.float64]
Measure = Literal['nearest', 'mahalanobis']
NEIGHBOURS = 3
FLOOR = 0.05
CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class LatentHome:
    """Known atoms of every element in whitened features.

    Distances are per element, in units of the spread of the known features, over the square root of their number: of
    order one for an atom among the known ones. ``nearest``: mean over the nearest known atoms; ``mahalanobis``: from
    the mean, with a covariance shrunk as Ledoit and Wolf do (J. Multivar. Anal. 88, 365 (2004)).

    centres: (D,) by atomic number; maps: (D, D') that whiten, by atomic number; points: (n, D') known atoms, whitened;
    frames: (n,) the frame of each.
    """

    measure: Measure
    centres: Mapping[int, Array]
    maps: Mapping[int, Array]
    points: Mapping[int, Array]
    frames: Mapping[int, NDArray[np.int64]]

    def distance(self, features: Array, numbers: NDArray[np.uint8], own: NDArray[np.int64] | None = None) -> Array:
        """Return (m,) distances for features (m, D) of atoms; inf for an element of which no atom is known.

        own: (m,) frames of the home whose atoms do not count: an atom of the home is judged without its own frame.
        """
        result = np.full(len(features), np.inf)
        for number in np.unique(numbers).tolist():
            if number not in self.points:
                continue
            rows = np.flatnonzero(numbers == number)
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                white = (features[part] - self.centres[number]) @ self.maps[number]
                if self.measure == 'mahalanobis':
                    result[part] = np.linalg.norm(white, axis=1)
                else:
                    skipped = None if own is None else self.frames[number] == own[part][:, None]
                    result[part] = nearest_mean(white, self.points[number], skipped)
            result[rows] /= np.sqrt(self.maps[number].shape[1])
        return result


def nearest_mean(white: Array, known: Array, skipped: NDArray[np.bool_] | None) -> Array:
    """Return (m,) the mean distance to the nearest NEIGHBOURS of the known points that are not skipped, (m, n)."""
    squared = (white**2).sum(axis=1)[:, None] + (known**2).sum(axis=1) - 2 * white @ known.T
    distances = np.sqrt(np.maximum(squared, 0.0))
    if skipped is not None:
        distances[skipped] = np.inf
    nearest: Array = np.sort(distances, axis=1)[:, :NEIGHBOURS]
    count = np.maximum(np.isfinite(nearest).sum(axis=1), 1)
    lonely = ~np.isfinite(nearest[:, 0])
    mean: Array = np.where(np.isfinite(nearest), nearest, 0.0).sum(axis=1) / count
    return np.where(lonely, np.inf, mean)


def settle(teacher: Teacher, frames: Sequence[Frames], *, measure: Measure = 'nearest') -> LatentHome:
    """Return the home of a teacher: the atoms of all frames (relaxed crystals; once there are labels, these too).

    ``nearest`` scales every feature by its spread over the known atoms of all elements; ``mahalanobis`` whitens by the
    covariance of each element's own. Atoms with features that are not finite are left out. ``ValueError`` without any.
    """
    features = np.concatenate([atom_features(teacher, part) for part in frames])
    numbers = np.concatenate([part.numbers for part in frames])
    counts = np.concatenate([np.diff(part.offsets) for part in frames])
    owner = np.repeat(np.arange(len(counts)), counts)
    fine = np.isfinite(features).all(axis=1)
    if not fine.any():
        raise ValueError('no atom with finite features among the known frames: give frames that the teacher accepts')
    spread, size = features[fine].std(axis=0), float(np.sqrt(np.mean(features[fine] ** 2)))
    # equal atoms (one perfect crystal) spread by round-off alone: nothing counts less than a part of the features' size
    scale = 1.0 / np.maximum(spread, max(0.05 * float(spread.max()), FLOOR * size, np.finfo(float).tiny))
    centres, maps, points, kept = {}, {}, {}, {}
    for number in np.unique(numbers[fine]).tolist():
        rows = np.flatnonzero(fine & (numbers == number))
        known = features[rows]
        centres[number] = known.mean(axis=0)
        maps[number] = whitening(known * scale) * scale[:, None] if measure == 'mahalanobis' else np.diag(scale)
        points[number] = (known - centres[number]) @ maps[number]
        kept[number] = owner[rows]
    return LatentHome(measure=measure, centres=centres, maps=maps, points=points, frames=kept)


def whitening(known: Array) -> Array:
    """Return (D, D), the inverse square root of the shrunk covariance of points (n, D)."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(known) if len(known) > 1 else (np.eye(known.shape[1]), 0.0)
    values, vectors = np.linalg.eigh(covariance)
    floor = max(1e-3 * float(values.max()), FLOOR**2)  # the points are in spreads: of order one
    root: Array = vectors / np.sqrt(np.maximum(values, floor))
    return root
