"""Where, at what temperature and for which element the student was unsure: a run's grades as a few bounded columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from ..frames import Frames

Array = NDArray[np.float64]

N_PLACES, N_WORST = 24, 200
QUANTILES = (0.5, 0.99)


def map_uncertainty(frames: Frames, steps: Sequence[int], temperatures_K: ArrayLike) -> dict[str, NDArray[Any]]:
    """Return γ against temperature, position and element, from the graded frames of one run.

    steps: (f,) MD steps of the frames; temperatures_K: (f,), NaN where unknown. Of the g graded frames and the e
    elements, by rising atomic number, NaN where a frame or place holds no atom of the element:

    number: (e,); step: (g,); temperature_K: (g,); median, high, largest: (g, e) the median, the 99 % quantile and the
    maximum of γ, inf where one is not finite; place: (3, 24, e) the largest γ in slabs of equal width along the cell's
    three vectors, over all frames; worst_step, worst_atom, worst_gamma: (w,) and worst_position: (w, 3) Å of at most
    200 atoms, highest γ first. Raise ``ValueError`` when steps or temperatures do not belong to the frames.
    """
    temperature = np.asarray(temperatures_K, dtype=float)
    if not len(frames) == len(steps) == len(temperature):
        raise ValueError(
            f'{len(steps)} steps and {len(temperature)} temperatures for {len(frames)} frames, expected one of each'
        )
    graded = [row for row in range(len(frames)) if _is_placed_and_graded(frames, row)]
    numbers = np.unique(frames.numbers).astype(np.int64)
    levels = np.full((len(graded), 3, len(numbers)), np.nan)
    place = np.full((3, N_PLACES, len(numbers)), np.nan)
    worst: list[Array] = []
    for at, row in enumerate(graded):
        atoms, gamma = frames.atoms(row), frames.gamma[frames.span(row)]
        gamma = np.where(np.isfinite(gamma), gamma, np.inf)
        slab = np.clip((atoms.get_scaled_positions() * N_PLACES).astype(int), 0, N_PLACES - 1)
        for kind, number in enumerate(numbers):
            mine = atoms.numbers == number
            if not mine.any():
                continue
            levels[at, :2, kind] = np.quantile(gamma[mine], QUANTILES, method='higher')
            levels[at, 2, kind] = gamma[mine].max()
            for axis in range(3):
                np.fmax.at(place[axis, :, kind], slab[mine, axis], gamma[mine])
        top = np.argsort(-gamma, kind='stable')[:N_WORST]
        worst.append(np.column_stack([np.full(len(top), steps[row]), top, gamma[top], atoms.positions[top]]))
    rows = np.concatenate(worst) if worst else np.zeros((0, 6))
    rows = rows[np.argsort(-rows[:, 2], kind='stable')][:N_WORST]
    return {
        'number': numbers,
        'step': np.asarray(steps, dtype=np.int64)[graded],
        'temperature_K': temperature[graded],
        'median': levels[:, 0],
        'high': levels[:, 1],
        'largest': levels[:, 2],
        'place': place,
        'worst_step': rows[:, 0].astype(np.int64),
        'worst_atom': rows[:, 1].astype(np.int64),
        'worst_gamma': rows[:, 2],
        'worst_position': rows[:, 3:],
    }


def _is_placed_and_graded(frames: Frames, row: int) -> bool:
    span = frames.span(row)
    return bool(np.isfinite(frames.positions[span]).all() and not np.isnan(frames.gamma[span]).all())


def join_maps(maps: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the map of several runs of one system, in their order; ``ValueError`` where their elements differ."""
    kinds = {tuple(part['number'].tolist()) for part in maps}
    if len(kinds) != 1:
        names = sorted('-'.join(chemical_symbols[number] for number in kind) for kind in kinds)
        raise ValueError(f'maps of {", ".join(names) or "nothing"}, expected one or more of the same elements')
    columns = ('step', 'temperature_K', 'median', 'high', 'largest')
    joined = {name: np.concatenate([part[name] for part in maps]) for name in columns}
    listed = [name for name in maps[0] if name.startswith('worst')]
    order = np.argsort(-np.concatenate([part['worst_gamma'] for part in maps]), kind='stable')[:N_WORST]
    worst = {name: np.concatenate([part[name] for part in maps])[order] for name in listed}
    place = np.fmax.reduce([part['place'] for part in maps])
    return {'number': maps[0]['number'], **joined, 'place': place, **worst}
