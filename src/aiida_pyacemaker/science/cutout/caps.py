"""Where a cluster is cut: dangling bonds, which atoms go with them, and the caps that close them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from ..images import Images

CAP_CLEARANCE = 1.2  # Å, caps closer than this are one too many
LONELY_CUTS = 3  # an atom that lost this many bonds is a stump, not a boundary
FULL_VALENCE = 4  # bonds of a tetrahedral atom

Neighbours = Sequence[NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Caps on cut bonds: (c, 3) Å positions, (c,) row of the host, (c,) row of the atom replaced, number merged."""

    positions: NDArray[np.float64]
    hosts: NDArray[np.int64]
    replaced: NDArray[np.int64]
    n_merged: int = 0
    n_left_out: int = 0

    def __len__(self) -> int:
        return len(self.hosts)

    def without(self, place: int) -> Caps:
        """Return the caps but one."""
        left = np.delete(np.arange(len(self)), place)
        return replace(
            self,
            positions=self.positions[left],
            hosts=self.hosts[left],
            replaced=self.replaced[left],
            n_left_out=self.n_left_out + 1,
        )


def cut_bonds(members: set[int], neighbours: Neighbours) -> list[tuple[int, int]]:
    """Return the bonds (row inside, row outside) that the boundary of ``members`` cuts, in order."""
    return [(row, int(other)) for row in sorted(members) for other in neighbours[row] if int(other) not in members]


def close_boundary(members: set[int], protected: set[int], neighbours: Neighbours, *, max_atoms: int) -> set[int]:
    """Return ``members`` with a boundary that caps can close.

    1. A terminal atom (one bond) outside goes with its host. 2. A member without a bond to another is dropped, unless
    it is ``protected`` (core, first neighbours and what is almost one). 3. While an atom has lost ``LONELY_CUTS`` bonds
    or more, or lost some and holds on by a single one, the outside atoms that bridge it to another member are added, as
    long as atoms and cut bonds together stay within ``max_atoms``. 4. Of what was added, what is still that lonely is
    dropped. A member with three caps is kept: the gap that it would leave is felt by the core, the caps hardly are.
    """
    wanted = {row for row in members if row in protected or any(int(other) in members for other in neighbours[row])}
    kept = set(wanted)
    while bridges := _bridges(kept, neighbours):
        grown = kept | bridges
        if len(grown) + len(cut_bonds(grown, neighbours)) > max_atoms:
            break
        kept = grown
    while lonely := _lonely(kept, neighbours) - wanted:
        kept -= lonely
    return kept | {other for _, other in cut_bonds(kept, neighbours) if len(neighbours[other]) == 1}


def place_caps(images: Images, members: set[int], neighbours: Neighbours, *, cap_number: int) -> Caps:
    """Return a cap on every cut bond, along it, at the covalent sum of host and cap."""
    bonds = np.array(cut_bonds(members, neighbours), dtype=np.int64).reshape(-1, 2)
    hosts, replaced = bonds[:, 0], bonds[:, 1]
    along = images.positions[replaced] - images.positions[hosts]
    lengths = covalent_radii[images.numbers[hosts]] + covalent_radii[cap_number]
    along *= (lengths / np.maximum(np.linalg.norm(along, axis=1), 1e-12))[:, None]
    return Caps(positions=images.positions[hosts] + along, hosts=hosts, replaced=replaced)


def clashing_pairs(caps: Caps) -> list[tuple[int, int]]:
    """Return pairs of caps closer than ``CAP_CLEARANCE``, closest first."""
    first, second = np.triu_indices(len(caps), 1)
    lengths = np.linalg.norm(caps.positions[first] - caps.positions[second], axis=1)
    order = np.argsort(lengths, kind='stable')
    return [(int(first[k]), int(second[k])) for k in order if lengths[k] < CAP_CLEARANCE]


def merge_clashing(caps: Caps) -> Caps:
    """Return caps of which each clashing pair became one, half way between the two, held by the first's host."""
    while pairs := clashing_pairs(caps):
        keep, gone = pairs[0]
        positions = caps.positions.copy()
        positions[keep] = caps.positions[[keep, gone]].mean(axis=0)
        left = np.delete(np.arange(len(caps)), gone)
        caps = Caps(
            positions=positions[left],
            hosts=caps.hosts[left],
            replaced=caps.replaced[left],
            n_merged=caps.n_merged + 1,
            n_left_out=caps.n_left_out,
        )
    return caps


def leave_out_for_parity(caps: Caps, images: Images, neighbours: Neighbours) -> Caps:
    """Return caps without the one on the longest cut bond of an atom with more than ``FULL_VALENCE`` bonds, if any.

    Such a bond is the weakest of its host, and leaving it out makes an odd number of electrons even.
    """
    crowded = np.array([len(neighbours[host]) > FULL_VALENCE for host in caps.hosts], dtype=bool)
    if not crowded.any():
        return caps
    lengths = np.linalg.norm(images.positions[caps.replaced] - images.positions[caps.hosts], axis=1)
    return caps.without(int(np.argmax(np.where(crowded, lengths, -1.0))))


def _lonely(members: set[int], neighbours: Neighbours) -> set[int]:
    """Return members that lost ``LONELY_CUTS`` bonds, or that lost any and hold on by one bond at most."""
    lonely = set()
    for row in members:
        cuts = sum(int(other) not in members for other in neighbours[row])
        if cuts >= LONELY_CUTS or (cuts and len(neighbours[row]) - cuts <= 1):
            lonely.add(row)
    return lonely


def _bridges(members: set[int], neighbours: Neighbours) -> set[int]:
    near = {int(other) for row in _lonely(members, neighbours) for other in neighbours[row]} - members
    return {row for row in near if sum(int(other) in members for other in neighbours[row]) >= 2}
