"""Which atoms of a halted run are worth a cutout."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from numpy.typing import NDArray

from ..config import ActiveLearningThresholds
from ..frames import Frames
from ..images import longest_bond
from ..md.events import event_distance, fingerprint
from ..md.halting import are_over, is_physical, limits

Floats = NDArray[np.float64]

MAX_CANDIDATES = 1000  # atoms of the highest γ that are clustered; a frame with more is far beyond one cutout
MAX_COMPARED = 64  # clusters of the highest γ whose environments are held against each other: milliseconds each


@dataclass(frozen=True, kw_only=True)
class Epicentre:
    """The atom a cutout is made about: frame, MD step, atom, its γ, how many atoms above ``add`` it stands for."""

    frame: int
    step: int
    atom: int
    gamma: float
    cluster_size: int


def choose_epicentres(
    atoms: Atoms,
    gamma: Floats,
    *,
    threshold_add: float | Floats,
    count: int,
    separation: float,
    exclude: Collection[int] = (),
) -> list[tuple[int, int]]:
    """Return up to ``count`` pairs (atom, number of atoms above ``threshold_add`` it stands for).

    Atoms with γ > ``threshold_add`` (a non-finite γ counts as over) are taken from the highest γ down, measured by
    their threshold; one closer than ``separation`` (Å, minimum image) to a taken atom joins its cluster. Of more
    clusters than asked for, the first is that of the highest γ and each further one that whose environment is least
    like those chosen. Nothing above: the atom of highest γ alone.
    gamma: (n,) in units of the measure; threshold_add: a number, or (n,).
    """
    ratio = np.where(np.isfinite(gamma), gamma / threshold_add, np.inf)
    order = np.argsort(-ratio, kind='stable')
    order = order[~np.isin(order, list(exclude))]
    over = order[ratio[order] > 1][:MAX_CANDIDATES]
    if len(over) == 0:
        return [(int(atom), 0) for atom in order[: min(1, count)]]
    _, lengths = get_distances(atoms.positions[over], cell=atoms.cell, pbc=atoms.pbc)
    chosen: list[int] = []
    sizes: list[int] = []
    for row in range(len(over)):
        distances = lengths[row, chosen]
        if len(chosen) and distances.min() < separation:
            sizes[int(distances.argmin())] += 1
        else:
            chosen.append(row)
            sizes.append(1)
    clusters = [(int(over[row]), size) for row, size in zip(chosen, sizes, strict=True)]
    return _least_alike(atoms, clusters, count)


def _least_alike(atoms: Atoms, clusters: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Return ``count`` clusters, the first one and then always that farthest from all taken, by fingerprint."""
    if len(clusters) <= count:
        return clusters
    known = clusters[: max(count, MAX_COMPARED)]
    marks = np.array([fingerprint(atoms, atom) for atom, _ in known])
    nearest, taken = np.full(len(known), np.inf), [0]
    while len(taken) < count:
        nearest = np.minimum(nearest, [event_distance(marks[taken[-1]], mark) for mark in marks])
        nearest[taken] = -1.0
        taken.append(int(np.argmax(nearest)))
    return [known[row] for row in taken[:count]]


@dataclass(frozen=True, kw_only=True)
class EpicentreRule:
    """How many epicentres are taken, and from where.

    thresholds: of γ, an atom above ``threshold_add_train`` may be one; count: in all; max_per_frame: from one frame;
    core_radius: Å, what lies in a core needs none of its own; min_steps_apart: MD steps between two frames that are
    used; exclude: pairs (step, atom) that were bought before.
    """

    thresholds: ActiveLearningThresholds
    count: int
    max_per_frame: int
    core_radius: float
    min_steps_apart: int
    exclude: Collection[tuple[int, int]] = ()


def gather_epicentres(
    frames: Frames, steps: Sequence[int], learning_frame: int, *, rule: EpicentreRule
) -> list[Epicentre]:
    """Return up to ``rule.count`` epicentres, the learning frame first, then other frames as far as they are needed.

    Other frames of the ring are asked only when ``count`` exceeds ``max_per_frame``, if they are graded and physical:
    first those with an atom above ``threshold_add_train``, where the student is ignorant, and only what these leave
    open is filled from the rest. Within each of the two, the highest γ comes first, far enough from every used frame:
    that distance starts at an even spread over the ring and is halved until ``count`` are found or
    ``min_steps_apart`` is reached.
    """
    tiers = [[learning_frame]]
    if rule.count > rule.max_per_frame:
        ignorant, known = _other_frames(frames, learning_frame, rule.thresholds)
        tiers = [[learning_frame, *ignorant], known]
    found: list[Epicentre] = []
    for candidates in tiers:
        found += _fill_up(frames, steps, candidates, found, rule)
    return found


def _other_frames(
    frames: Frames, learning_frame: int, thresholds: ActiveLearningThresholds
) -> tuple[list[int], list[int]]:
    """Return the graded, physical frames but one, highest γ first: those above the add threshold, and the others."""
    peaks = {}
    for row in range(len(frames)):
        gamma = frames.gamma[frames.span(row)]
        if row != learning_frame and not np.isnan(gamma).all() and is_physical(frames, row):
            peaks[row] = float(np.max(np.nan_to_num(gamma, nan=np.inf)))
    order = sorted(peaks, key=lambda row: (-peaks[row], row))
    ignorant = {row for row in order if are_over(thresholds, 'threshold_add_train', frames, row).any()}
    return [row for row in order if row in ignorant], [row for row in order if row not in ignorant]


def _fill_up(
    frames: Frames, steps: Sequence[int], candidates: Sequence[int], found: Sequence[Epicentre], rule: EpicentreRule
) -> list[Epicentre]:
    """Return the epicentres that are missing from ``found``, from as widely spread ``candidates`` as give enough."""
    missing = rule.count - len(found)
    if missing <= 0:
        return []
    n_frames = -(-rule.count // rule.max_per_frame)
    apart = max(rule.min_steps_apart, (max(steps) - min(steps)) // n_frames)
    while True:
        rows = _spread(candidates, steps, used={epicentre.frame for epicentre in found}, n_steps=apart)
        taken = _take(frames, steps, rows, rule, missing)
        if len(taken) >= missing or apart <= rule.min_steps_apart:
            return taken
        apart = max(rule.min_steps_apart, apart // 2)


def _spread(candidates: Sequence[int], steps: Sequence[int], *, used: Collection[int], n_steps: int) -> list[int]:
    """Return candidates in order without those closer than ``n_steps`` to one before or to a used frame."""
    chosen: list[int] = []
    for row in candidates:
        if all(abs(steps[row] - steps[other]) >= n_steps for other in (*used, *chosen)):
            chosen.append(row)
    return chosen


def _take(
    frames: Frames, steps: Sequence[int], rows: Sequence[int], rule: EpicentreRule, missing: int
) -> list[Epicentre]:
    taken: list[Epicentre] = []
    for row in rows:
        taken += _of_frame(frames, row, int(steps[row]), rule, missing - len(taken))
    return taken


def _of_frame(frames: Frames, row: int, step: int, rule: EpicentreRule, missing: int) -> list[Epicentre]:
    atoms, gamma = frames.atoms(row), frames.gamma[frames.span(row)]
    chosen = choose_epicentres(
        atoms,
        gamma,
        threshold_add=limits(rule.thresholds, 'threshold_add_train', atoms.numbers),
        count=min(rule.max_per_frame, missing),
        separation=core_separation(atoms, rule.core_radius),
        exclude=[atom for bought, atom in rule.exclude if bought == step],
    )
    return [
        Epicentre(frame=row, step=step, atom=atom, gamma=float(gamma[atom]), cluster_size=size) for atom, size in chosen
    ]


def core_separation(atoms: Atoms, core_radius: float) -> float:
    """Return the distance (Å) below which an atom needs no cutout of its own: a core, and at least a bond."""
    return max(core_radius, longest_bond(atoms.numbers))
