"""All methods of selection behind one call, with quotas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..config import SelectionMethod
from .d_optimal import select_d_optimal, select_max_volume
from .direct import select_direct
from .entropy import kernel_width, select_entropy
from .environments import Environments
from .farthest import select_farthest
from .quotas import share_out

IN_ENVIRONMENTS: tuple[SelectionMethod, ...] = ('d_optimal', 'max_volume')  # methods that need the student's basis


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """What is known of the N frames to choose from.

    scores: (N, m) features in the weighted principal space; environments: in the student's basis, for the methods that
    need them; strata: (N,) names that quotas hold for.
    """

    scores: NDArray[np.float64]
    environments: Environments | None = None
    strata: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype=str))

    def __len__(self) -> int:
        return len(self.scores)

    def subset(self, rows: NDArray[np.int64]) -> Candidates:
        """Return some of the frames, in the order of ``rows``."""
        return Candidates(
            scores=self.scores[rows],
            environments=self.environments.select(rows) if self.environments is not None else None,
            strata=self.strata[rows] if len(self.strata) else self.strata,
        )


def select(
    candidates: Candidates,
    method: SelectionMethod,
    *,
    count: int,
    rng: Generator,
    start: Sequence[int] = (),
    floor: float = 0.0,
) -> NDArray[np.int64]:
    """Return ``count`` sorted rows, ``start`` among them.

    With ``floor`` above 0 every stratum first gives its quota, chosen by the same method among its own frames; the
    method then fills up from all. Raises ``ValueError`` where ``count`` is below 1 or the method lacks environments.
    """
    if count < 1:
        raise ValueError(f'count is {count}, expected at least 1')
    if method in IN_ENVIRONMENTS and candidates.environments is None:
        raise ValueError(f'{method} selects in the basis of the student, which was not given')
    taken = list(start)[:count]
    quotas = share_out(candidates.strata, count=count, floor=floor) if floor > 0 else {}
    for name, quota in quotas.items():
        rows = np.flatnonzero(candidates.strata == name)
        missing = min(quota - len(np.intersect1d(rows, taken)), count - len(taken))
        if missing > 0:
            taken += _of_stratum(candidates, method, rows, missing, taken, rng)
    if len(taken) < count:
        taken += _run(candidates, method, count - len(taken), taken, rng).tolist()
    return np.sort(np.array(taken, dtype=np.int64))


def _of_stratum(
    candidates: Candidates,
    method: SelectionMethod,
    rows: NDArray[np.int64],
    count: int,
    taken: Sequence[int],
    rng: Generator,
) -> list[int]:
    """Return ``count`` more of ``rows``, ``taken`` among them counting as taken."""
    inside = np.flatnonzero(np.isin(rows, taken)).tolist()
    return rows[_run(candidates.subset(rows), method, count, inside, rng)].tolist()


def _run(
    candidates: Candidates, method: SelectionMethod, count: int, start: Sequence[int], rng: Generator
) -> NDArray[np.int64]:
    scores, environments = candidates.scores, candidates.environments
    if method == 'direct':
        return select_direct(scores, count=count, rng=rng, start=start)
    if method == 'farthest':
        return select_farthest(scores, count=count, start=start)
    if method == 'entropy':
        width = kernel_width(scores, min(count + len(start), len(scores)))
        return select_entropy(scores, count=count, width=width, start=start)
    if method == 'random':
        others = np.setdiff1d(np.arange(len(scores)), np.asarray(start, dtype=np.int64))
        return rng.permutation(others)[:count]
    assert environments is not None
    chosen = select_d_optimal if method == 'd_optimal' else select_max_volume
    return chosen(environments, count=count, start=start)
