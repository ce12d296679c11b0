"""Every user-facing setting, with its unit, its default and what is allowed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra='forbid', frozen=True)


def check_settings(model: type[Settings], values: dict[str, Any], port: str) -> str | None:
    """Return one line that names port, key, value and what is allowed, or ``None`` when ``values`` are fine."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        rows = [f'{port}.{".".join(map(str, row["loc"]))} = {row["input"]!r}: {row["msg"]}' for row in error.errors()]
        return '; '.join(rows)
    return None


class PoolConfig(Settings):
    """How many structures of each kind a pool holds; temperatures in K, amplitudes in Å, strains dimensionless."""

    n_strained: int = Field(40, ge=0)
    strain_max: float = Field(0.08, gt=0, lt=0.5)
    n_rattled: int = Field(60, ge=0)
    rattle_amplitudes: tuple[Positive, ...] = (0.03, 0.1, 0.2)
    n_vacancy: int = Field(20, ge=0)
    n_md_frames: int = Field(60, ge=0)
    md_temperatures_K: tuple[Positive, ...] = (300.0, 900.0)
    md_steps_between_frames: Count = 20
    n_dimers: int = Field(20, ge=0)
    max_atoms: Count = 64
    min_distance_fraction: Positive = 0.6
    max_force_eV_per_A: Positive = 50.0
    denser_factor: float = Field(1.6, gt=1.0)


class DistillationConfig(Settings):
    """Phase 1: what the teacher shows the student before any DFT; thresholds in eV/Å."""

    enable: bool = True
    mace_model_path: str | tuple[str, ...] = 'medium-mpa-0'
    uncertainty_threshold: Positive = 0.05
    sampling_structures_per_system: Count = 1000
    n_selected: Count = 150
    held_out_fraction: float = Field(0.1, gt=0, lt=0.5)
    pool: PoolConfig = PoolConfig()

    @field_validator('enable')
    @classmethod
    def _start_without_teacher_exists(cls, value: bool) -> bool:
        if not value:
            raise ValueError('enable: false, a start without the teacher, is not built yet; allowed: true')
        return value

    @field_validator('mace_model_path')
    @classmethod
    def _model_is_fetched_by_name(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if value != 'medium-mpa-0':
            raise ValueError(
                "mace_model_path is not built yet: the model is the input teacher; allowed: 'medium-mpa-0', the default"
            )
        return value


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


class CutoutConfig(Settings):
    """Phase 3: what is cut out of a halted frame; lengths in Å. A ``core_radius`` of 0 is a one-atom core."""

    core_radius: NonNegative = 4.0
    buffer_radius: Positive = 3.0
    enable_pre_relaxation: bool = True
    relax_buffer: bool = False  # moving the second shell of a hot core costs its DFT force 0.5 eV/Å, caps alone 0.07
    enable_passivation: bool = True
    passivation_element: str = 'H'
    policy: Literal['auto', 'covalent'] = 'auto'
    max_epicentres: Count = 2
    max_label_atoms: Count = 130
    vacuum: Positive = 6.0
    pre_relaxation_steps: Count = 30
    pre_relaxation_fmax: Positive = 0.3
    max_displacement: Positive = 0.5

    @field_validator('passivation_element')
    @classmethod
    def _element_exists(cls, value: str) -> str:
        if value not in chemical_symbols[1:]:
            raise ValueError(f"passivation_element {value!r} is no element; allowed: a chemical symbol as 'H'")
        return value


class DftConfig(Settings):
    """Static DFT; cut-offs and broadening in Ry, k-point distance in 1/Å including 2π, `None`: from the family.

    ``smearing`` is that of periodic frames; clusters, whose levels are discrete, always have gaussian smearing.
    """

    ecutwfc: Positive | None = None
    ecutrho: Positive | None = None
    degauss: Positive = 0.015
    smearing: Literal['mv', 'gaussian', 'mp', 'fd'] = 'mv'
    kpoints_distance: Positive = 0.15
    conv_thr_per_atom: Positive = 2e-8
    force_limit_eV_per_A: Positive = 50.0
    max_concurrent: Count = 2


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


class ValidationConfig(Settings):
    """Phase 2: gates of the student against the teacher; relative tolerances, miniature MD in steps and K."""

    tolerance_lattice: Positive = 0.01
    tolerance_bulk: Positive = 0.15
    tolerance_elastic: Positive = 0.25
    md_steps: Count = 2000
    md_temperature_K: Positive = 300.0
    md_max_gamma: Positive = 10.0
    max_attempts: Count = 3


class BudgetConfig(Settings):
    """When to stop paying: DFT calls (every SCF counts, kept-out ones included), rounds of learning, MD segments."""

    max_dft_calls: Count = 100
    max_rounds: Count = 10
    max_segments: Count = 50
    n_held_out: int = Field(0, ge=0)


class LoopStrategyConfig(Settings):
    """How the phases play together."""

    use_tiered_oracle: bool = False
    incremental_update: bool = True
    replay_buffer_size: Count = 500
    baseline_potential_type: Literal['LJ', 'ZBL'] = 'LJ'
    thresholds: ActiveLearningThresholds = ActiveLearningThresholds()
    budget: BudgetConfig = BudgetConfig()

    @field_validator('use_tiered_oracle')
    @classmethod
    def _oracle_exists(cls, value: bool) -> bool:
        if value:
            raise ValueError('use_tiered_oracle is not built yet; allowed: false')
        return value

    @field_validator('incremental_update')
    @classmethod
    def _batch_refit_exists(cls, value: bool) -> bool:
        if not value:
            raise ValueError(
                'incremental_update: false belongs to the pacemaker trainer, which is not built yet; allowed: true'
            )
        return value

    @field_validator('replay_buffer_size')
    @classmethod
    def _buffer_exists(cls, value: int) -> int:
        if value != 500:
            raise ValueError(
                'replay_buffer_size is used by the pacemaker trainer, which is not built yet; allowed: 500'
            )
        return value
