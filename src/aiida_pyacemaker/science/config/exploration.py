"""Settings of molecular dynamics and of when it halts."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator, model_validator

from .base import Count, Finite, Positive, Settings


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
    """One MD run; temperatures in K, times in ps, pressures in GPa; ramps are linear from step 0 to ``n_steps``.

    The barostat (``npt``) scales the box as one (``iso``), along its three axes (``aniso``) or in shape too (``tri``).
    """

    ensemble: Literal['nve', 'nvt', 'npt', 'langevin'] = 'nvt'
    temperature_start_K: Positive = 300.0
    temperature_end_K: Positive = 300.0
    pressure_start_GPa: Finite = 0.0
    pressure_end_GPa: Finite = 0.0
    pressure_damping_ps: Positive = 1.0
    barostat: Literal['iso', 'aniso', 'tri'] = 'iso'
    timestep_ps: Positive = 0.001
    n_steps: Count = 10_000
    damping_ps: Positive = 0.1
    restart_every: Count = 500
    dump_every: Count = 100
    ring_size: Count = 20
    soft_start_steps: int = Field(100, ge=0)
    soft_start_damping_ps: Positive = 0.02


class LammpsConfig(Settings):
    """How the program is called and what else comes back; nothing here changes the physics.

    cmdline: flags after ours, e.g. ``-k on g 1 -sf kk -pk kokkos newton on neigh half`` (one GPU a node) or
    ``-pk omp 4`` (threads of pyacemaker-lmp), word by word; additional_retrieve_list: files kept beside the logs.
    """

    cmdline: tuple[str, ...] = ()
    additional_retrieve_list: tuple[str, ...] = ()

    @field_validator('cmdline')
    @classmethod
    def _flags_of_ours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        ours = sorted({'-in', '-i', '-log', '-l', '-screen', '-sc', '-partition', '-p'} & set(value))
        if ours:
            raise ValueError(f'{", ".join(ours)} cannot be given: script, log and screen are written by the plugin')
        return value

    @field_validator('cmdline')
    @classmethod
    def _flags_of_gpu(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse Kokkos' own choice on GPUs, as the pace styles do, but before the job has waited for one."""
        pairs = set(pairwise(value))
        if {('-k', 'on'), ('-kokkos', 'on')} & pairs and 'g' in value:
            missing = [' '.join(pair) for pair in (('newton', 'on'), ('neigh', 'half')) if pair not in pairs]
            if missing:
                raise ValueError(f'pace on a GPU needs -pk kokkos newton on neigh half, missing: {", ".join(missing)}')
        return value
