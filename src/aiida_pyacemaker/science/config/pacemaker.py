"""Settings of a fit by pacemaker that the basis and the weights do not say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from .base import Count, NonNegative, Positive, Settings


class PacemakerConfig(Settings):
    """How pacemaker minimises; names are those of its ``input.yaml``.

    ``kappa``, the share of the forces in the loss, follows from ``fit.weight_energy`` and ``fit.weight_forces`` when
    it is ``None``. ``ladder_step`` (functions a step, share of them, or both) holds for a first potential only.
    ``display_step`` 1 would hide the first iteration from the log. ``diverged_factor``: the monitor ends a fit whose
    loss is not finite or above this many times its start.
    """

    optimizer: Literal['BFGS', 'L-BFGS-B'] = 'BFGS'
    maxiter: Count = 500
    kappa: float | None = Field(None, ge=0.0, le=1.0)
    L1_coeffs: NonNegative = 1e-8
    L2_coeffs: NonNegative = 1e-8
    w0_rad: NonNegative = 0.0
    w1_rad: NonNegative = 0.0
    w2_rad: NonNegative = 0.0
    trainable_parameters: Literal['ALL', 'func', 'radial'] = 'ALL'
    ladder_step: tuple[Positive, ...] = ()
    ladder_type: Literal['body_order', 'power_order'] = 'body_order'
    batch_size: Count = 20
    display_step: int = Field(20, ge=2)
    diverged_factor: float = Field(1e3, gt=1.0)

    @field_validator('ladder_step')
    @classmethod
    def _steps_are_counts_or_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        counts = [step for step in value if step >= 1]
        if len(counts) > 1 or len(value) - len(counts) > 1 or any(step != int(step) for step in counts):
            raise ValueError(
                f'ladder_step is {value}; allowed: a whole number of functions, a share of them below 1, one of each, '
                'or nothing'
            )
        return value
