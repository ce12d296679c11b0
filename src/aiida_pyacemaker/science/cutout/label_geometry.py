"""The label geometry: what ``pw.x`` sees, a capped cluster in a cubic box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from ..config import CutoutConfig
from ..frames import SHELL_BUFFER, SHELL_CAP, SHELL_CORE, SHELL_FROZEN
from .caps import (
    Caps,
    Neighbours,
    clashing_pairs,
    close_boundary,
    leave_out_for_parity,
    merge_clashing,
    place_caps,
)
from .images import BOND_FACTOR, Images, bonded_neighbours, images_near

MARGIN_BONDS = 4  # bonds beyond the buffer that must be known to judge the boundary


class RejectedCutoutError(ValueError):
    """A cutout that must not be paid for; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class LabelGeometry:
    """A cluster: structure in its box, (n,) ``SHELL_*``, (n,) parent row in the frame or -1 for a cap, and numbers."""

    atoms: Atoms
    shell: NDArray[np.int8]
    parents: NDArray[np.int64]
    report: dict[str, float | int | bool]


def build_label_geometry(frame: Atoms, epicentre: int, config: CutoutConfig) -> LabelGeometry:
    """Return the capped cluster about atom ``epicentre`` of ``frame``, nothing relaxed yet.

    Core: atoms within ``core_radius``; frozen: what is bonded to the core; buffer: atoms within ``buffer_radius`` of
    those, the farthest left out until cluster and caps are within ``max_label_atoms``. Raises
    :class:`RejectedCutoutError` when core and first neighbours alone are too many or wrap the box.
    """
    bond = 2 * BOND_FACTOR * float(covalent_radii[frame.numbers].max())
    reach = config.core_radius + config.buffer_radius + (1 + MARGIN_BONDS) * bond
    images = images_near(frame, epicentre, np.zeros((1, 3)), radius=reach)
    neighbours = bonded_neighbours(images)
    core, protected, buffer = _shells(images, neighbours, config)
    if len(set(images.parents[sorted(core)])) < len(core):
        raise RejectedCutoutError(
            f'the core of radius {config.core_radius} Å about atom {epicentre} wraps the periodic box'
        )
    members, caps = _fit_in(images, neighbours, (core, protected, buffer), config)
    return _assemble(images, (core, protected, members), caps, config, wanted=protected | set(buffer))


def _shells(images: Images, neighbours: Neighbours, config: CutoutConfig) -> tuple[set[int], set[int], list[int]]:
    """Return core, core with its first neighbours, and the buffer ordered by distance from the epicentre."""
    distances = np.linalg.norm(images.positions, axis=1)
    core = {0} | {int(row) for row in np.flatnonzero(distances <= config.core_radius)}
    protected = core | {int(other) for row in core for other in neighbours[row]}
    inner = images.positions[sorted(protected)]
    gaps = np.linalg.norm(images.positions[:, None] - inner[None], axis=2).min(axis=1)
    buffer = [int(row) for row in np.flatnonzero(gaps <= config.buffer_radius) if int(row) not in protected]
    return core, protected, buffer


def _fit_in(
    images: Images, neighbours: Neighbours, shells: tuple[set[int], set[int], list[int]], config: CutoutConfig
) -> tuple[set[int], Caps]:
    """Return the largest cluster within ``max_label_atoms``, and its caps."""
    _, protected, buffer = shells
    for count in range(len(buffer), -1, -1):
        members = close_boundary(
            protected | set(buffer[:count]), protected, neighbours, max_atoms=config.max_label_atoms
        )
        members, caps = _close_with_caps(images, members, neighbours, config)
        if len(members) + len(caps) <= config.max_label_atoms:
            return members, caps
    raise RejectedCutoutError(
        f'core and first neighbours need {len(members) + len(caps)} atoms with caps, max_label_atoms is '
        f'{config.max_label_atoms}: raise it or lower core_radius'
    )


def _close_with_caps(
    images: Images, members: set[int], neighbours: Neighbours, config: CutoutConfig
) -> tuple[set[int], Caps]:
    """Return members and caps; an atom that two clashing caps both replace joins the cluster, other clashes merge."""
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


def _assemble(
    images: Images, groups: tuple[set[int], set[int], set[int]], caps: Caps, config: CutoutConfig, *, wanted: set[int]
) -> LabelGeometry:
    core, protected, members = groups
    rows = sorted(members)
    tags = [SHELL_CORE if row in core else SHELL_FROZEN if row in protected else SHELL_BUFFER for row in rows]
    positions = np.concatenate([images.positions[rows], caps.positions])
    cap_number = atomic_numbers[config.passivation_element]
    numbers = np.concatenate([images.numbers[rows], np.full(len(caps), cap_number, dtype=np.int64)])
    extent = np.ptp(positions, axis=0)
    side = float(extent.max()) + config.vacuum
    middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
    atoms = Atoms(numbers=numbers, positions=positions - middle + side / 2, cell=[side] * 3, pbc=False)
    n_electrons = int(numbers.sum())
    return LabelGeometry(
        atoms=atoms,
        shell=np.array([*tags, *[SHELL_CAP] * len(caps)], dtype=np.int8),
        parents=np.concatenate([images.parents[rows], np.full(len(caps), -1, dtype=np.int64)]),
        report={
            'n_atoms': len(numbers),
            'n_core': len(core),
            'n_frozen': len(protected) - len(core),
            'n_buffer': len(rows) - len(protected),
            'n_caps': len(caps),
            'n_caps_merged': caps.n_merged,
            'n_caps_left_out': caps.n_left_out,
            'n_buffer_left_out': len(wanted - members),
            'n_electrons_all': n_electrons,
            'odd_electrons': bool(n_electrons % 2),
            'box_A': side,
        },
    )
