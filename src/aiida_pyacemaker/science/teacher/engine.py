"""What a teacher is made of: an engine, which answers for many structures at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Dtype = Literal['float32', 'float64']


@dataclass(frozen=True, kw_only=True)
class CommitteeLabels:
    """What K members say of n structures with m atoms in all.

    energy: (K, n) eV; forces: (K, m, 3) eV/Å; stress: (K, n, 6) eV/Å³, ASE's sign and order, NaN unless fully periodic.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine(ABC):
    """One or several models of one program that are asked together.

    elements: symbols that every member knows; cutoff: Å, the reach of one layer; dtype: of the evaluation; sha256: one
    a member, of what decides its answers; licence: SPDX name or sentence, ``None`` where the files do not tell;
    batch_atoms: how many atoms are asked about together unless told.
    """

    # distributions whose versions belong to a label
    PACKAGES: ClassVar[tuple[str, ...]] = ()
    HAS_STRESS: ClassVar[bool] = True

    elements: tuple[str, ...]
    cutoff: float
    dtype: Dtype
    device: str
    sha256: tuple[str, ...]
    licence: str | None = None
    batch_atoms: int = 200

    @abstractmethod
    def evaluate(self, structures: Sequence[Atoms]) -> CommitteeLabels:
        """Label all structures at once; a structure that a member refuses has NaN everywhere."""

    @abstractmethod
    def describe(self, structures: Sequence[Atoms]) -> NDArray[np.float64]:
        """Return (m, D), features of every atom that rotations and translations do not change."""


def join_labels(parts: Sequence[CommitteeLabels], *, members: bool) -> CommitteeLabels:
    """Return labels of several parts as one: parts are ``members`` of one committee, else other structures."""
    axis = 0 if members else 1
    return CommitteeLabels(
        energy=np.concatenate([part.energy for part in parts], axis=axis),
        forces=np.concatenate([part.forces for part in parts], axis=axis),
        stress=np.concatenate([part.stress for part in parts], axis=axis),
    )
