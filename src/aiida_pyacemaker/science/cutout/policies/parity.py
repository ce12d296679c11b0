"""From an odd number of electrons to an even one, far from the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...config import CutoutConfig
from ..caps import CAP_CLEARANCE, Caps, leave_out_for_parity
from ..charges import dipole
from ..shells import Surroundings

WHOLE = 1e-3
PARTNER_BONDS = 1.5  # from the cluster, in longest bonds: across a vacancy


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Members of a cluster, its caps, and what was done about its electrons."""

    members: set[int]
    caps: Caps
    parity: str = 'even'


def make_even(
    near: Surroundings,
    cluster: Cluster,
    config: CutoutConfig,
    *,
    electrons: Callable[[Cluster], float],
    close: Callable[[set[int]], Cluster],
) -> Cluster:
    """Return the cluster with an even number of electrons, if one of four ways leads there; else as it was.

    1. The cap on the weakest bond of an atom with more than four bonds goes. 2. An atom of the buffer that misses a
    neighbour in the frame, as beside a vacancy, gets a cap where that was. 3. Such an atom outside joins: the
    partner of the one inside. 4. A cap of the buffer's outer half goes. Where several would do, the one with the least
    dipole is taken. electrons: number of valence electrons; close: caps for given members.
    """
    if _is_even(electrons(cluster)):
        return cluster
    steps = (_without_crowded(near, cluster), _capped(near, cluster, config), _with_partner(near, cluster, close))
    for ways in (*steps, _without_far_cap(near, cluster)):
        good = [
            way
            for way in ways
            if _is_even(electrons(way)) and len(way.members) + len(way.caps) <= config.max_label_atoms
        ]
        if good:
            return min(good, key=lambda way: round(_dipole(near, way, config), 3))
    return replace(cluster, parity='odd')


def _is_even(electrons: float) -> bool:
    return abs(electrons / 2 - round(electrons / 2)) < WHOLE / 2


def _dipole(near: Surroundings, cluster: Cluster, config: CutoutConfig) -> float:
    rows = sorted(cluster.members)
    caps = np.full(len(cluster.caps), atomic_numbers[config.passivation_element])
    positions = np.concatenate([near.images.positions[rows], cluster.caps.positions])
    return dipole(Atoms(numbers=np.concatenate([near.images.numbers[rows], caps]), positions=positions))


def _without_crowded(near: Surroundings, cluster: Cluster) -> Iterator[Cluster]:
    caps = leave_out_for_parity(cluster.caps, near.images, near.neighbours)
    if len(caps) < len(cluster.caps):
        yield replace(cluster, caps=caps, parity='weak bond left open')


def _misses_neighbour(near: Surroundings, row: int) -> bool:
    """Say whether a row has fewer bonds than most atoms of its element."""
    same = np.flatnonzero(near.images.numbers == near.images.numbers[row])
    inner = same[np.linalg.norm(near.images.positions[same], axis=1) < near.reach - near.bond]
    counts = [len(near.neighbours[other]) for other in inner]
    return bool(counts) and len(near.neighbours[row]) < int(np.median(counts))


def _capped(near: Surroundings, cluster: Cluster, config: CutoutConfig) -> Iterator[Cluster]:
    """Yield the cluster with one more cap, opposite to the bonds of an atom that misses one."""
    number = atomic_numbers[config.passivation_element]
    for row in sorted(cluster.members - near.protected):
        if near.images.numbers[row] == 1 or not len(near.neighbours[row]) or not _misses_neighbour(near, row):
            continue
        place = _opposite(near, row, number)
        others = np.concatenate([near.images.positions[sorted(cluster.members - {row})], cluster.caps.positions])
        if len(others) and np.linalg.norm(others - place, axis=1).min() < CAP_CLEARANCE:
            continue
        caps = cluster.caps
        more = replace(
            caps,
            positions=np.concatenate([caps.positions, place[None]]),
            hosts=np.append(caps.hosts, row),
            replaced=np.append(caps.replaced, row),
        )
        yield replace(cluster, caps=more, parity='dangling bond capped')


def _opposite(near: Surroundings, row: int, number: int) -> NDArray[np.float64]:
    """Return the place (Å) of a cap opposite to the bonds of a row."""
    vectors = near.images.positions[near.neighbours[row]] - near.images.positions[row]
    along = -np.sum(vectors / np.linalg.norm(vectors, axis=1)[:, None], axis=0)
    along /= max(float(np.linalg.norm(along)), 1e-9)
    length = covalent_radii[near.images.numbers[row]] + covalent_radii[number]
    return np.asarray(near.images.positions[row] + along * length)


def _with_partner(near: Surroundings, cluster: Cluster, close: Callable[[set[int]], Cluster]) -> Iterator[Cluster]:
    """Yield the cluster with one more atom that misses a neighbour, across a vacancy say, and what bridges to it."""
    members = near.images.positions[sorted(cluster.members)]
    gaps = cKDTree(members).query(near.images.positions)[0]
    for row in np.flatnonzero((gaps > 0) & (gaps <= PARTNER_BONDS * near.bond)).tolist():
        if not _misses_neighbour(near, row):
            continue
        around = [int(other) for other in near.neighbours[row]]
        bridges = {other for other in around if any(int(next_) in cluster.members for next_ in near.neighbours[other])}
        if len(bridges | (cluster.members & set(around))) >= 2:  # it must not hang on by one bond
            yield replace(close(cluster.members | {row} | bridges), parity='partner joined')


def _without_far_cap(near: Surroundings, cluster: Cluster) -> Iterator[Cluster]:
    """Yield the cluster without one of the caps further out than the median, on an atom that is not frozen."""
    if not len(cluster.caps):
        return
    distances = np.linalg.norm(cluster.caps.positions, axis=1)
    for place in np.flatnonzero(distances >= np.median(distances)).tolist():
        if int(cluster.caps.hosts[place]) not in near.protected:
            yield replace(cluster, caps=cluster.caps.without(place), parity='cap left out')
