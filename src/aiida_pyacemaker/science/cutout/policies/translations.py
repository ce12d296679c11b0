"""Which translations map a hot, defective crystal onto itself: what a periodic box can be made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...images import Images

Array = NDArray[np.float64]

SAME_SITE = 0.3  # of the nearest distance: hot atoms are that far from their site
GOOD_MATCH = 0.75  # of the sampled atoms: near melting a tenth is elsewhere, a wrong vector maps a fifth
N_SAMPLED, N_REFERENCES = 120, 3
N_ROUGH, ROUGH_MATCH = 24, 0.5  # what most candidates of a compound fail
MOST_REFINED = 400


@dataclass(frozen=True, kw_only=True)
class Translations:
    """Vectors (k, 3) Å, shortest first, and (k,) the share of atoms that each puts onto another of their kind."""

    vectors: Array
    matches: Array

    def __len__(self) -> int:
        return len(self.vectors)


def nearest_distance(images: Images) -> float:
    """Return the median over the innermost atoms of the distance (Å) to their nearest neighbour."""
    tree = cKDTree(images.positions)
    return float(np.median(tree.query(images.positions[:N_SAMPLED], k=2)[0][:, 1]))


def find_translations(images: Images, *, shortest: float, longest: float, normal: Array | None = None) -> Translations:
    """Return the vectors between ``shortest`` and ``longest`` (Å) that map the neighbourhood onto itself.

    Candidates are differences between like atoms; each is put right by the mean misfit of the atoms that it maps and
    kept with a match of ``GOOD_MATCH``. Of a vector and its inverse one is returned. ``images`` must reach ``longest``
    further than the sampled atoms, the innermost ``N_SAMPLED``. normal: (3,) only vectors perpendicular to it.
    """
    tolerance = SAME_SITE * nearest_distance(images)
    sampled = np.arange(min(N_SAMPLED, len(images)))
    vectors = _candidates(images, sampled, shortest - tolerance, longest + tolerance)
    if normal is not None:
        vectors = vectors[np.abs(vectors @ normal) < tolerance]
    vectors = _each_once(vectors, tolerance)
    matches, _ = _misfit(images, sampled[:: max(1, len(sampled) // N_ROUGH)], vectors, tolerance)
    vectors = vectors[matches >= ROUGH_MATCH][:MOST_REFINED]
    for radius in (1.5 * tolerance, tolerance):
        vectors = vectors + _misfit(images, sampled, vectors, radius)[1]
    if normal is not None:
        vectors = vectors - np.outer(vectors @ normal, normal)
    matches, _ = _misfit(images, sampled, vectors, tolerance)
    lengths = np.linalg.norm(vectors, axis=1)
    good = np.flatnonzero((matches >= GOOD_MATCH) & (lengths >= shortest) & (lengths <= longest))
    good = good[np.argsort(lengths[good], kind='stable')]
    return Translations(vectors=vectors[good], matches=matches[good])


def _misfit(images: Images, sampled: NDArray[np.int64], vectors: Array, radius: float) -> tuple[Array, Array]:
    """Return (k,) the share of atoms that a vector puts within ``radius`` of a like one, (k, 3) Å how far off."""
    hits, sums = np.zeros(len(vectors)), np.zeros((len(vectors), 3))
    for number in np.unique(images.numbers[sampled]):
        sites = images.positions[images.numbers == number]
        places = images.positions[sampled[images.numbers[sampled] == number]]
        moved = vectors[:, None] + places[None]
        lengths, rows = cKDTree(sites).query(moved, distance_upper_bound=radius)
        near = np.isfinite(lengths)
        misfit = sites[np.where(near, rows, 0)] - moved
        hits += near.sum(axis=1)
        sums += np.where(near[..., None], misfit, 0.0).sum(axis=1)
    return hits / len(sampled), sums / np.maximum(hits, 1)[:, None]


def _each_once(vectors: Array, tolerance: float) -> Array:
    """Return the vectors without those closer than ``tolerance`` (Å) to one before."""
    gone = np.zeros(len(vectors), dtype=bool)
    for first, second in sorted(cKDTree(vectors).query_pairs(tolerance)) if len(vectors) else ():
        if not gone[first]:
            gone[second] = True
    return vectors[~gone]


def _candidates(images: Images, sampled: NDArray[np.int64], shortest: float, longest: float) -> Array:
    """Return differences between like atoms, from a few reference atoms, shortest first, no vector and its inverse."""
    references = sampled[-N_REFERENCES:] if len(sampled) > 2 * N_REFERENCES else sampled
    parts = []
    for row in references:
        difference = images.positions[images.numbers == images.numbers[row]] - images.positions[row]
        length = np.linalg.norm(difference, axis=1)
        parts.append(difference[(length >= shortest) & (length <= longest)])
    found = np.concatenate(parts)
    flip = np.sign(found @ np.array([1.0, 1e-3, 1e-6]))
    found = found * np.where(flip == 0, 1.0, flip)[:, None]
    return found[np.argsort(np.linalg.norm(found, axis=1), kind='stable')]
