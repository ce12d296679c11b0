"""Settings of which frames of a pool the teacher labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import NonNegative, Settings

SelectionMethod = Literal['direct', 'farthest', 'd_optimal', 'max_volume', 'entropy', 'random']


class SelectionConfig(Settings):
    """How frames are chosen from a pool.

    ``method``: entropy, DIRECT, farthest point, D-optimal (log determinant per atom, or MaxVol), or at random;
    ``descriptors``: the space of the first three, of the student's basis or features of the teacher (the D-optimal ones
    always work in the student's). ``quota_floor``: part of an equal share that every generator in every subsystem gets
    at least, 0 to 1. ``duplicate_tolerance``: frames nearer than this part of the pool's spread to an earlier one are
    left out. The defaults are those of the least error in the benchmark that costs little.
    """

    method: SelectionMethod = 'entropy'
    descriptors: Literal['student', 'teacher'] = 'student'
    quota_floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    duplicate_tolerance: NonNegative = 0.0

    @property
    def needs_student(self) -> bool:
        """Return whether frames are described in the student's basis."""
        return self.descriptors == 'student' or self.method in ('d_optimal', 'max_volume')
