"""The label geometry: what ``pw.x`` sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..config import CutoutConfig
from ..images import FrameIndex
from .theory import LabelTheory


class RejectedCutoutError(ValueError):
    """A cutout that must not be paid for; the message is the reason, ``tried`` has it by policy."""

    def __init__(self, message: str, tried: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.tried = tuple(tried)


class TooLargeError(RejectedCutoutError):
    """Core and first neighbours are more than the settings allow: a smaller core may do."""


@dataclass(frozen=True, kw_only=True)
class LabelGeometry:
    """What one policy made: a structure in its box, the shell of every atom and where it comes from.

    shell: (n,) ``SHELL_*``; parents: (n,) row in the frame, -1 for a cap; boundary: (n,) the atoms that the cut
    invented or whose surroundings it changed, which the teacher may move: caps, and the atoms at the seam of a box.
    """

    atoms: Atoms
    policy: str
    shell: NDArray[np.int8]
    parents: NDArray[np.int64]
    boundary: NDArray[np.bool_]
    report: dict[str, Any]

    @property
    def is_whole_frame(self) -> bool:
        """Whether nothing was cut: energy and stress of the label are those of the frame."""
        return self.policy == 'whole_frame'


@dataclass(frozen=True, kw_only=True)
class CutRequest:
    """What a policy is asked: a frame, the atom to cut around, the settings, and what DFT will make of it."""

    frame: FrameIndex
    epicentre: int
    config: CutoutConfig
    theory: LabelTheory
