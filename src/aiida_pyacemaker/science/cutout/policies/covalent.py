"""A cluster whose cut bonds are closed by caps: covalent solids."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from ...config import CutoutConfig
from ...frames import SHELL_CAP
from ..caps import Caps, clashing_pairs, close_boundary, leave_out_for_parity, merge_clashing, place_caps
from ..label_geometry import CutRequest, LabelGeometry, RejectedCutoutError
from ..shells import Surroundings, survey

MARGIN_BONDS = 4  # bonds beyond the buffer that must be known to judge the boundary


def cut_covalent(request: CutRequest) -> LabelGeometry:
    """Return a capped cluster in a cubic box.

    Core: atoms within ``core_radius``; frozen: what is bonded to the core; buffer: atoms within ``buffer_radius`` of
    those, the farthest left out until cluster and caps are within ``max_label_atoms``. Raises
    :class:`RejectedCutoutError` when core and first neighbours alone are too many or wrap the box.
    """
    near = survey(request, margin_bonds=MARGIN_BONDS)
    members, caps = _fit_in(near, request.config)
    rows = sorted(members)
    cap_number = atomic_numbers[request.config.passivation_element]
    positions = np.concatenate([near.images.positions[rows], caps.positions])
    is_cap = np.arange(len(positions)) >= len(rows)
    return LabelGeometry(
        atoms=in_cube(
            np.concatenate([near.images.numbers[rows], np.full(len(caps), cap_number)]), positions, request.config
        ),
        policy='covalent',
        shell=np.array([*near.tags(rows), *[SHELL_CAP] * len(caps)], dtype=np.int8),
        parents=np.concatenate([near.images.parents[rows], np.full(len(caps), -1, dtype=np.int64)]),
        boundary=is_cap,
        report={
            'n_caps_merged': caps.n_merged,
            'n_caps_left_out': caps.n_left_out,
            'n_buffer_left_out': len((near.protected | set(near.buffer)) - members),
        },
    )


def in_cube(numbers: np.ndarray, positions: np.ndarray, config: CutoutConfig) -> Atoms:
    """Return a cluster in the middle of a cubic box, ``vacuum`` (Å) larger than its longest side."""
    side = float(np.ptp(positions, axis=0).max()) + config.vacuum
    middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
    return Atoms(numbers=numbers, positions=positions - middle + side / 2, cell=[side] * 3, pbc=False)


def _fit_in(near: Surroundings, config: CutoutConfig) -> tuple[set[int], Caps]:
    """Return the largest cluster within ``max_label_atoms``, and its caps."""
    protected = set(near.protected)
    for count in range(len(near.buffer), -1, -1):
        members = close_boundary(
            protected | set(near.buffer[:count]), protected, near.neighbours, max_atoms=config.max_label_atoms
        )
        members, caps = _close_with_caps(near, members, config)
        if len(members) + len(caps) <= config.max_label_atoms:
            return members, caps
    raise RejectedCutoutError(
        f'core and first neighbours need {len(members) + len(caps)} atoms with caps, max_label_atoms is '
        f'{config.max_label_atoms}: raise it or lower core_radius'
    )


def _close_with_caps(near: Surroundings, members: set[int], config: CutoutConfig) -> tuple[set[int], Caps]:
    """Return members and caps; an atom that two clashing caps both replace joins the cluster, other clashes merge."""
    images, neighbours = near.images, near.neighbours
    if not config.enable_passivation:
        return members, Caps(positions=np.zeros((0, 3)), hosts=np.zeros(0, dtype=int), replaced=np.zeros(0, dtype=int))
    number = atomic_numbers[config.passivation_element]
    caps = place_caps(images, members, neighbours, cap_number=number)
    while shared := {int(caps.replaced[a]) for a, b in clashing_pairs(caps) if caps.replaced[a] == caps.replaced[b]}:
        members = members | shared
        caps = place_caps(images, members, neighbours, cap_number=number)
    caps = merge_clashing(caps)
    electrons = int(images.numbers[sorted(members)].sum()) + number * len(caps)
    if electrons % 2 and number % 2:
        caps = leave_out_for_parity(caps, images, neighbours)
    return members, caps
