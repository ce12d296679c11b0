"""Settings of molecular dynamics and of when it halts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from .base import Count, Positive, Settings


class ActiveLearningThresholds(Settings):
    """The two-tier rule on the extrapolation grade γ (dimensionless): add < call < danger."""

    measure: Literal['gamma', 'teacher'] = 'gamma'
    threshold_add_train: Positive = 2.0
    threshold_call_dft: Positive = 5.0
    threshold_danger: Positive = 10.0
    smooth_steps: Count = 3
    check_every: Count = 10
    persistence: Literal['auto', 'system', 'atom'] = 'auto'

    @field_validator('measure')
    @classmethod
    def _measure_exists(cls, value: str) -> str:
        if value == 'teacher':
            raise ValueError("measure 'teacher' is not built yet; allowed: 'gamma'")
        return value

    @model_validator(mode='after')
    def _in_order(self) -> ActiveLearningThresholds:
        if not self.threshold_add_train < self.threshold_call_dft < self.threshold_danger:
            raise ValueError(
                'thresholds must rise: threshold_add_train < threshold_call_dft < threshold_danger, found '
                f'{self.threshold_add_train}, {self.threshold_call_dft}, {self.threshold_danger}'
            )
        return self


class MdConfig(Settings):
    """One MD run; temperatures in K, times in ps, pressure in GPa."""

    ensemble: Literal['nve', 'nvt', 'langevin'] = 'nvt'
    temperature_start_K: Positive = 300.0
    temperature_end_K: Positive = 300.0
    timestep_ps: Positive = 0.001
    n_steps: Count = 10_000
    damping_ps: Positive = 0.1
    restart_every: Count = 500
    dump_every: Count = 100
    ring_size: Count = 20
    soft_start_steps: int = Field(100, ge=0)
    soft_start_damping_ps: Positive = 0.02
