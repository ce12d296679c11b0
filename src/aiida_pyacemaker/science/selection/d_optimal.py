"""D-optimal selection in the student's own basis: frames whose environments pin its coefficients down best.

Determinants of linear ACE: Lysogorskiy et al., Phys. Rev. Materials 7, 043801 (2023). Greedy maximisation of a log
determinant: Sviridenko, Oper. Res. Lett. 32, 41 (2004); lazily: Minoux, Lecture Notes in Control 7, 234 (1978).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ..ace.active_set import CandidateStream, fill, grade_rows, select_active
from .environments import Array, Environments

RIDGE = 1e-3  # in units of a function's mean square over the pool: directions below it are not worth a frame
ACTIVE = 1.0 - 1e-6  # grade of an environment that is in the active set
PIECE = 20_000  # environments handed over at once


class Information:
    """What is known of every coefficient: (ridge + Σ b bᵀ)⁻¹ for each element, b the scaled rows that were taken."""

    def __init__(self, n_functions: Sequence[int], ridge: float = RIDGE) -> None:
        self._inverses = [np.eye(count) / ridge for count in n_functions]

    def gain(self, rows: dict[int, Array]) -> float:
        """Return by how much the log determinant grows with these environments, element -> (k, N) rows."""
        total = 0.0
        for kind, block in rows.items():
            overlap = np.eye(len(block)) + block @ self._inverses[kind] @ block.T
            total += float(np.linalg.slogdet(overlap)[1])
        return total

    def add(self, rows: dict[int, Array]) -> None:
        """Take these environments up (Woodbury)."""
        for kind, block in rows.items():
            spread = self._inverses[kind] @ block.T
            factor = cho_factor(np.eye(len(block)) + block @ spread)
            inverse = self._inverses[kind] - spread @ cho_solve(factor, spread.T)
            self._inverses[kind] = (inverse + inverse.T) / 2.0


def select_d_optimal(
    environments: Environments, *, count: int, start: Sequence[int] = (), per_atom: bool = True
) -> NDArray[np.int64]:
    """Return ``count`` frames in the order they are taken, ``start`` not among them.

    Each is the frame that raises the log determinant of the student's information most, per atom (the cost of a label)
    or, without ``per_atom``, per frame. A gain only shrinks as others are taken, so most are never computed again.
    """
    scaled = environments.scaled()
    information = Information(scaled.n_functions)
    for frame in start:
        information.add(scaled.of_frame(frame))
    costs = scaled.sizes if per_atom else np.ones(len(scaled))
    taken = set(start)
    queue = [(-np.inf, frame) for frame in range(len(scaled)) if frame not in taken and scaled.sizes[frame]]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and len(chosen) < count:
        _, frame = heapq.heappop(queue)
        rows = scaled.of_frame(frame)
        value = information.gain(rows) / costs[frame]
        if queue and value < -queue[0][0]:
            heapq.heappush(queue, (-value, frame))
            continue
        chosen.append(frame)
        information.add(rows)
    return np.array(chosen, dtype=np.int64)


def select_max_volume(environments: Environments, *, count: int, start: Sequence[int] = ()) -> NDArray[np.int64]:
    """Return ``count`` frames, those first that hold most environments of the active set, ``start`` not among them.

    When the frames of one active set (MaxVol) are all taken, the next is built from what remains.
    """
    left = np.setdiff1d(np.arange(len(environments)), np.asarray(start, dtype=np.int64))
    chosen: list[int] = []
    while len(left) and len(chosen) < count:
        held = np.zeros(len(environments), dtype=np.int64)
        for kind in range(len(environments.n_functions)):
            rows, frames = environments.of_element(kind)
            among = np.isin(frames, left)
            rows, frames = rows[among], frames[among]
            if len(rows):
                np.add.at(held, frames[_active_rows(rows)], 1)
        order = left[np.argsort(-held[left], kind='stable')]
        taken = order[: max(1, int(np.count_nonzero(held)))][: count - len(chosen)]
        chosen += taken.tolist()
        left = np.setdiff1d(left, taken)
    return np.array(chosen, dtype=np.int64)


def _active_rows(rows: Array) -> NDArray[np.int64]:
    stream = CandidateStream(rows.shape[1])
    pieces = range(0, len(rows), PIECE)

    def everything() -> Iterator[tuple[int, Array]]:
        yield from ((0, rows[first : first + PIECE]) for first in pieces)

    fill([stream], everything)
    inverse = select_active(stream.result()).inverse
    return np.concatenate(
        [first + np.flatnonzero(grade_rows(rows[first : first + PIECE], inverse) >= ACTIVE) for first in pieces]
    )
