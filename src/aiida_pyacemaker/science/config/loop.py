"""Settings of how the phases play together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from .base import Count, Settings
from .exploration import ActiveLearningThresholds, MdConfig


class BudgetConfig(Settings):
    """When to stop paying: DFT calls (every SCF counts, kept-out ones included), rounds of learning, MD segments.

    ``max_segments`` is for each stretch of MD between two rounds; the others are over all walkers.
    """

    max_dft_calls: Count = 100
    max_rounds: Count = 10
    max_segments: Count = 50
    n_held_out: int = Field(0, ge=0)


class WalkerConfig(Settings):
    """``count`` walkers from frame ``structure`` (from 0) of `md_structure`; ``md``: settings over those of `md`."""

    structure: int = Field(0, ge=0)
    count: Count = 1
    md: dict[str, Any] = {}

    @field_validator('md')
    @classmethod
    def _settings_exist(cls, value: dict[str, Any]) -> dict[str, Any]:
        MdConfig.model_validate(value)
        return value


class LoopStrategyConfig(Settings):
    """How the phases play together.

    walkers: none means one from each frame of `md_structure`. stride_steps: MD steps after which a walker asks for
    the newest potential; ``None``: none, or a tenth of its way when ``decoupled``. decoupled: walkers go on while
    labels are computed; a ``halted_walker`` waits for its labels, or goes back before the excursion with other random
    forces. Halt number ``max_event_repeats`` on one event, within ``event_memory_steps`` MD steps of a walker that met
    it, is cut with a bigger core, the next is labelled whole if the frame has no more than ``cutout.max_frame_atoms``,
    the next ends the run. use_tiered_oracle: where the committee of teachers is surer than
    ``distillation.uncertainty_threshold`` it labels a halt, DFT elsewhere and when the event comes back.
    """

    walkers: tuple[WalkerConfig, ...] = ()
    stride_steps: Count | None = None
    decoupled: bool = False
    halted_walker: Literal['wait', 'roll_back'] = 'wait'
    max_event_repeats: int = Field(3, ge=2)
    event_memory_steps: Count = 500
    use_tiered_oracle: bool = False
    incremental_update: bool = True
    replay_buffer_size: Count = 500
    baseline_potential_type: Literal['LJ', 'ZBL'] = 'LJ'
    thresholds: ActiveLearningThresholds = ActiveLearningThresholds()
    budget: BudgetConfig = BudgetConfig()

    @field_validator('incremental_update')
    @classmethod
    def _batch_refit_exists(cls, value: bool) -> bool:
        if not value:
            raise ValueError(
                'incremental_update: false, a fit from nothing in each round, is not built yet; allowed: true'
            )
        return value

    @model_validator(mode='after')
    def _rolled_back_beside_labels(self) -> LoopStrategyConfig:
        if self.halted_walker == 'roll_back' and not self.decoupled:
            raise ValueError(
                "halted_walker 'roll_back' without decoupled: true would meet the same halt with the same potential; "
                "allowed: 'wait'"
            )
        return self
