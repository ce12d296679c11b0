"""Every user-facing setting, with its unit, its default and what is allowed."""

from .base import Count, NonNegative, Positive, Settings, check_settings
from .basis import BasisConfig, BondConfig, EmbeddingConfig, FunctionsConfig, OrdersConfig
from .cutout import CutoutConfig
from .dft import DftConfig
from .distillation import DistillationConfig, PoolConfig
from .exploration import ActiveLearningThresholds, LammpsConfig, MdConfig
from .fit import FinetuneConfig, FitConfig
from .loop import BudgetConfig, LoopStrategyConfig, WalkerConfig
from .pacemaker import PacemakerConfig
from .selection import SelectionConfig, SelectionMethod
from .teacher import AseTeacherConfig, ChgnetTeacherConfig
from .validation import ValidationConfig

__all__ = [
    'ActiveLearningThresholds',
    'AseTeacherConfig',
    'BasisConfig',
    'BondConfig',
    'BudgetConfig',
    'ChgnetTeacherConfig',
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
    'SelectionConfig',
    'SelectionMethod',
    'Settings',
    'ValidationConfig',
    'WalkerConfig',
    'check_settings',
]
