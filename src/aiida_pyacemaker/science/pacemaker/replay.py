"""The replay buffer: which frames of the past a trainer sees again that cannot update incrementally."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def share_places(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Return how many of ``total`` places each source gets: equal shares, what a small one leaves goes to the rest.

    Sources are served in the order of their names, so that the answer does not depend on the order of ``sizes``.
    """
    places: dict[str, int] = {}
    left = total
    for done, name in enumerate(sorted(sizes, key=lambda name: (sizes[name], name))):
        places[name] = min(sizes[name], left // (len(sizes) - done))
        left -= places[name]
    return places


def draw_replay(sizes: Mapping[str, int], *, size: int, rng: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """Return source -> (k,) ascending rows drawn without replacement: ``size`` in all, or all where there are fewer.

    sizes: source -> number of frames. Stratified: each source gets an equal share of the places.
    """
    places = share_places(sizes, size)
    streams = dict(zip(sorted(sizes), rng.spawn(len(sizes)), strict=True))
    return {
        name: np.sort(streams[name].choice(sizes[name], size=places[name], replace=False)).astype(np.int64)
        for name in sorted(sizes)
    }
