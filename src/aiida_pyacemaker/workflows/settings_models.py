"""Which settings model stands behind which ``Dict`` port; one name means one model in every WorkChain."""

from __future__ import annotations

from ..science import config

SETTINGS_MODELS: dict[str, type[config.Settings]] = {
    'distillation': config.DistillationConfig,
    'fit': config.FitConfig,
    'validation': config.ValidationConfig,
    'md': config.MdConfig,
    'lammps_settings': config.LammpsConfig,
    'strategy': config.LoopStrategyConfig,
    'thresholds': config.ActiveLearningThresholds,
    'cutout': config.CutoutConfig,
    'dft': config.DftConfig,
    'finetune': config.FinetuneConfig,
}
