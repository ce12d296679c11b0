"""A cluster whose cut bonds are closed by caps: covalent solids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from scipy.spatial import cKDTree

from ...config import CutoutConfig
from ...frames import SHELL_CAP
from ..caps import FULL_VALENCE, Caps, clashing_pairs, close_boundary, merge_clashing, place_caps
from ..charges import NONMETALS
from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError, TooLargeError
from ..shells import Surroundings, survey
from .parity import Cluster, make_even

# electrons that an atom brings into four bonds; an atom of the fourth group brings one into each
BONDING_ELECTRONS = {
    **dict.fromkeys(('Cu', 'Ag'), 1),
    **dict.fromkeys(('Be', 'Mg', 'Zn', 'Cd', 'Hg'), 2),
    **dict.fromkeys(('B', 'Al', 'Ga', 'In'), 3),
    **dict.fromkeys(('N', 'P', 'As', 'Sb'), 5),
    **dict.fromkeys(('C', 'Si', 'Ge', 'Sn'), 4),
    **dict.fromkeys(('O', 'S', 'Se', 'Te'), 6),
    **dict.fromkeys(('F', 'Cl', 'Br', 'I'), 7),
}
PAIR_ELECTRONS = 8  # of two elements that share four bonds each: two electrons a bond
ALMOST_BONDED = 1.15  # of the longest bond, 3.3 Å in silicon; the second neighbours of diamond are at 1.33 of it
MARGIN_BONDS = 4  # bonds beyond the buffer that must be known to judge the boundary


def cut_covalent(request: CutRequest) -> LabelGeometry:
    """Return a capped cluster in a cubic box.

    Core: atoms within ``core_radius``; frozen: what is bonded to the core; buffer: what is almost bonded to the core,
    and atoms within ``buffer_radius`` of core and frozen, the farthest of these left out until cluster and caps are
    within ``max_label_atoms``. An odd number of electrons is made even where :func:`make_even` can. Raises
    :class:`TooLargeError` when core and neighbours alone are too many or wrap the box, :class:`RejectedCutoutError`
    when a host needs a fractional cap that has no pseudopotential.
    """
    near = survey(request, margin_bonds=MARGIN_BONDS)
    cluster = _fit_in(near, request)
    rows, caps = sorted(cluster.members), cluster.caps
    cap_number = atomic_numbers[request.config.passivation_element]
    numbers = np.concatenate([near.images.numbers[rows], np.full(len(caps), cap_number, dtype=np.int64)])
    positions = np.concatenate([near.images.positions[rows], caps.positions])
    return LabelGeometry(
        atoms=in_cube(numbers, positions, request.config),
        policy='covalent',
        shell=np.array([*near.tags(rows), *[SHELL_CAP] * len(caps)], dtype=np.int8),
        parents=np.concatenate([near.images.parents[rows], np.full(len(caps), -1, dtype=np.int64)]),
        boundary=np.arange(len(numbers)) >= len(rows),
        report={
            'n_caps_merged': caps.n_merged,
            'n_caps_left_out': caps.n_left_out,
            'n_buffer_left_out': len((near.protected | set(near.buffer)) - cluster.members),
            'parity': cluster.parity,
        },
    )


def fractional_hosts(elements: Collection[str]) -> frozenset[str]:
    """Return the elements whose cut bonds are closed by caps of fractional charge: of III-V, II-VI and I-VII crystals.

    Those with a partner among ``elements`` that brings what they lack to eight: oxygen in quartz has bonds of its own.
    """
    brought = {element: BONDING_ELECTRONS[element] for element in elements if element in BONDING_ELECTRONS}
    partners = {PAIR_ELECTRONS - count for count in brought.values()}
    return frozenset(element for element, count in brought.items() if count in partners and count != FULL_VALENCE)


def in_cube(numbers: np.ndarray, positions: np.ndarray, config: CutoutConfig) -> Atoms:
    """Return a cluster in the middle of a cubic box, ``vacuum`` (Å) larger than its longest side."""
    side = float(np.ptp(positions, axis=0).max()) + config.vacuum
    middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
    return Atoms(numbers=numbers, positions=positions - middle + side / 2, cell=[side] * 3, pbc=False)


def _fit_in(near: Surroundings, request: CutRequest) -> Cluster:
    """Return the largest cluster within ``max_label_atoms``, with caps and an even number of electrons if possible."""
    config, inner = request.config, _with_hosts(near, set(near.protected) | _almost_bonded(near))

    def close(members: set[int]) -> Cluster:
        return _close_with_caps(near, members, request)

    for count in range(len(near.buffer), -1, -1):
        members = _with_hosts(near, inner | set(near.buffer[:count]))
        members = close_boundary(members, inner, near.neighbours, max_atoms=config.max_label_atoms)
        cluster = close(members)
        if len(cluster.members) + len(cluster.caps) <= config.max_label_atoms:
            if not config.enable_passivation:
                return cluster
            cluster = make_even(near, cluster, config, electrons=partial(_electrons, near, request), close=close)
            _check_hydrogens(near, cluster)
            _check_hosts(near, cluster, request)
            return cluster
    raise TooLargeError(
        f'core and first neighbours need {len(cluster.members) + len(cluster.caps)} atoms with caps, max_label_atoms '
        f'is {config.max_label_atoms}: raise it or lower core_radius'
    )


def _almost_bonded(near: Surroundings) -> set[int]:
    """Return what is so near to the core that the core would feel its loss: the weak bonds of a glass."""
    tree = cKDTree(near.images.positions[sorted(near.core)])
    gaps = tree.query(near.images.positions)[0]
    return set(np.flatnonzero(gaps <= ALMOST_BONDED * near.bond).tolist())


def _with_hosts(near: Surroundings, rows: set[int]) -> set[int]:
    """Return the rows with what their hydrogens and their atoms of one bond hang on: a cap instead would make H2."""
    hanging = [row for row in rows if near.images.numbers[row] == 1 or len(near.neighbours[row]) == 1]
    return rows | {int(host) for row in hanging for host in near.neighbours[row]}


def _check_hydrogens(near: Surroundings, cluster: Cluster) -> None:
    """Refuse a cap on a hydrogen."""
    if (near.images.numbers[cluster.caps.hosts] == 1).any():
        raise RejectedCutoutError('a bond of a hydrogen is cut, and a cap on it would make H2')


def _electrons(near: Surroundings, request: CutRequest, cluster: Cluster) -> float:
    """Return the valence electrons of cluster and caps."""
    atoms = Atoms(numbers=near.images.numbers[sorted(cluster.members)])
    own = request.theory.electrons(atoms, np.zeros(len(atoms), dtype=np.int8))
    hosts = near.images.numbers[cluster.caps.hosts]
    number = atomic_numbers[request.config.passivation_element]
    return own + sum(request.theory.cap_electrons(number, int(host)) for host in hosts)


def _check_hosts(near: Surroundings, cluster: Cluster, request: CutRequest) -> None:
    """Refuse a cap of whole charge where the bond needs a fractional one, and any cap whose charge no rule gives."""
    if not request.config.fractional_caps:
        return
    symbols = [chemical_symbols[number] for number in near.images.numbers]
    brought = {BONDING_ELECTRONS.get(symbol, FULL_VALENCE) for symbol in symbols}
    is_compound = min(brought) < FULL_VALENCE < max(brought)
    for host, replaced in zip(cluster.caps.hosts.tolist(), cluster.caps.replaced.tolist(), strict=True):
        ends = (symbols[host], symbols[replaced])
        for symbol in ends:
            if symbol not in NONMETALS and symbol not in BONDING_ELECTRONS:
                raise RejectedCutoutError(f'no rule gives the charge of a cap where a bond of {symbol} is cut')
        is_tetrahedral = any(len(near.neighbours[row]) == FULL_VALENCE for row in (host, replaced))
        if is_compound and is_tetrahedral and host != replaced:
            _check_bond(*ends)
        _check_charge(near, host, is_compound=is_compound, charges=request.theory.cap_charges)


def _check_bond(host: str, replaced: str) -> None:
    """Refuse a cut bond that did not have two electrons: what its cap brings would leave the cluster a charge."""
    counts = [BONDING_ELECTRONS.get(symbol, FULL_VALENCE) for symbol in (host, replaced)]
    if FULL_VALENCE not in counts and sum(counts) != PAIR_ELECTRONS:
        raise RejectedCutoutError(
            f'a cut bond of {host} and {replaced} has {sum(counts) / FULL_VALENCE:g} electrons, caps make it two'
        )


def _check_charge(near: Surroundings, host: int, *, is_compound: bool, charges: Mapping[int, float]) -> None:
    """Refuse a host that asks for a fractional cap when there is no pseudopotential of that."""
    number = int(near.images.numbers[host])
    symbol = chemical_symbols[number]
    needs_one = is_compound and BONDING_ELECTRONS.get(symbol, FULL_VALENCE) != FULL_VALENCE
    if needs_one and len(near.neighbours[host]) == FULL_VALENCE and number not in charges:
        raise RejectedCutoutError(
            f'a cap on {symbol} needs a charge of its own: give a pseudopotential H{number}, or set fractional_caps '
            'false'
        )


def _close_with_caps(near: Surroundings, members: set[int], request: CutRequest) -> Cluster:
    """Return members and caps; an atom that two clashing caps both replace joins the cluster, other clashes merge.

    Caps of fractional charge do not merge: what both replace joins, so that every bond keeps its two electrons.
    """
    images, neighbours, config = near.images, near.neighbours, request.config
    if not config.enable_passivation:
        none = np.zeros(0, dtype=np.int64)
        return Cluster(members=members, caps=Caps(positions=np.zeros((0, 3)), hosts=none, replaced=none), parity='')
    number = atomic_numbers[config.passivation_element]
    caps = place_caps(images, members, neighbours, cap_number=number)
    fractional = not set(request.theory.cap_charges).isdisjoint(images.numbers[caps.hosts].tolist())
    while joining := _replaced_twice(caps, every_clash=fractional):
        members = members | joining
        caps = place_caps(images, members, neighbours, cap_number=number)
        if len(members) > config.max_label_atoms:
            break
    return Cluster(members=members, caps=merge_clashing(caps))


def _replaced_twice(caps: Caps, *, every_clash: bool) -> set[int]:
    pairs = [(int(caps.replaced[a]), int(caps.replaced[b])) for a, b in clashing_pairs(caps)]
    return {row for pair in pairs if every_clash or pair[0] == pair[1] for row in pair}
