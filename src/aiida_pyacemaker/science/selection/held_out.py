"""Frames kept out of training: whole groups, from every generator in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..frames import Frames


def split_held_out(
    frames: Frames, *, count: int, rng: Generator, never: Sequence[str] = ()
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sorted indices of about ``count`` held-out frames, and of the frames whose group is not held out.

    Groups are drawn from the generators (``config_type``, those in ``never`` excepted) in turn until ``count``
    frames are reached, so the two sets share no group; a frame with group -1 is a group of its own. Never takes more
    than half of the frames.
    """
    groups = np.where(frames.group >= 0, frames.group, -1 - np.arange(len(frames)))
    queues: list[list[int]] = []
    kinds = sorted(set(frames.config_type.tolist()) - set(never))
    for kind in rng.permutation(kinds).tolist():
        members = np.unique(groups[frames.config_type == kind])
        queues.append(rng.permutation(members).tolist())
    limit = min(count, len(frames) // 2)
    held_out: list[NDArray[np.int64]] = []
    taken = 0
    while taken < limit and any(queues):
        for queue in queues:
            if not queue or taken >= limit:
                continue
            rows = np.flatnonzero(groups == queue.pop())
            if taken + len(rows) <= len(frames) // 2:
                held_out.append(rows)
                taken += len(rows)
    chosen = np.sort(np.concatenate(held_out)) if held_out else np.empty(0, dtype=np.int64)
    return chosen, np.setdiff1d(np.arange(len(frames)), chosen)
