"""Settings of the student and of what the teacher learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from .base import Count, NonNegative, Positive, Settings


class FitConfig(Settings):
    """The student: basis in pacemaker's own keys, weights of energy/forces/stress rows, ridge; cut-offs in Å."""

    cutoff: Positive | None = None
    number_of_functions_per_element: Count = 200
    max_body_order: int = Field(4, ge=2, le=6)
    radial_base: Literal['ChebExpCos', 'ChebPow', 'ChebLinear', 'SBessel'] = 'SBessel'
    nradmax_by_orders: tuple[Count, ...] = (12, 5, 3, 2, 1)
    lmax_by_orders: tuple[int, ...] = (0, 3, 3, 2, 2)
    weight_energy: NonNegative = 1.0
    weight_forces: NonNegative = 100.0
    weight_stress: NonNegative = 10.0
    weight_dft: Positive = 10.0
    ridge: Positive | None = None
    ridge_floor: Positive = 1e-10
    old_teacher_policy: Literal['forget', 'down-weight'] = 'down-weight'
    old_teacher_factor: Positive = 0.1

    @field_validator('lmax_by_orders')
    @classmethod
    def _momenta_couple_to_zero(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or value[0] != 0 or min(value) < 0:
            raise ValueError(
                f'lmax_by_orders is {value}: one factor alone is invariant for l = 0 only; allowed: 0, then values >= 0'
            )
        return value


class FinetuneConfig(Settings):
    """Phase 4: readouts of the teacher on DFT forces, then surrogate frames around the halt."""

    max_epochs: Count = 60
    learning_rate: Positive = 1e-3
    anchor_weight: NonNegative = 1.0
    forces_on: Literal['core', 'frozen', 'all'] = 'core'
    n_surrogate_frames: Count = 24
    surrogate_amplitude: Positive = 0.08
    surrogate_md_temperature_K: Positive = 900.0
    surrogate_md_steps: Count = 25
