"""Every user-facing setting, with its unit, its default and what is allowed."""

from .base import Count, NonNegative, Positive, Settings, check_settings
from .basis import BasisConfig, BondConfig, EmbeddingConfig, FunctionsConfig, OrdersConfig
from .dft import CutoutConfig, DftConfig
from .distillation import DistillationConfig, PoolConfig
from .exploration import ActiveLearningThresholds, LammpsConfig, MdConfig
from .fit import FinetuneConfig, FitConfig
from .loop import BudgetConfig, LoopStrategyConfig
from .pacemaker import PacemakerConfig
from .validation import ValidationConfig

__all__ = [
    'ActiveLearningThresholds',
    'BasisConfig',
    'BondConfig',
    'BudgetConfig',
    'Count',
    'CutoutConfig',
    'DftConfig',
    'DistillationConfig',
    'EmbeddingConfig',
    'FinetuneConfig',
    'FitConfig',
    'FunctionsConfig',
    'LammpsConfig',
    'LoopStrategyConfig',
    'MdConfig',
    'NonNegative',
    'OrdersConfig',
    'PacemakerConfig',
    'PoolConfig',
    'Positive',
    'Settings',
    'ValidationConfig',
    'check_settings',
]
