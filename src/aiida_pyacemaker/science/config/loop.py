"""Settings of how the phases play together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from .base import Count, Settings
from .exploration import ActiveLearningThresholds


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
            raise ValueError(
                'use_tiered_oracle: the oracle within the loop is not built yet, there the teacher would learn its own '
                'labels; allowed: false (pyacemaker.oracle runs by itself)'
            )
        return value

    @field_validator('incremental_update')
    @classmethod
    def _batch_refit_exists(cls, value: bool) -> bool:
        if not value:
            raise ValueError(
                'incremental_update: false, a fit from nothing in each round, is not built yet; allowed: true'
            )
        return value
