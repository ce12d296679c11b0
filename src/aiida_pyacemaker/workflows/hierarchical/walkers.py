"""Walkers as plain data: where each is, what it waits for, what its next stretch of MD is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...science.config import LoopStrategyConfig, MdConfig, WalkerConfig
from ..protocol import merge

READY, WAITING, DONE = 'ready', 'waits for labels', 'reached its goal'
DEFAULT_STRIDES = 10  # of a walk, where potentials are swapped on the way and no stride is given

Walker = dict[str, Any]


def make_walkers(strategy: LoopStrategyConfig, n_structures: int, md: Mapping[str, Any]) -> dict[str, Walker]:
    """Return the walkers by name, `walker_1` on: those of the settings, or one from each structure.

    A walker: `structure` (row), `md` (settings over the shared ones), `goal`, `step` and `walked` (MD steps; what is
    walked twice counts twice), `stride` (steps or ``None``), `state`, `restart`, `potential` and `generation` of its
    last stretch and the potential `before` (``None`` before the first), `shaken` when other random forces are to lead
    it elsewhere.
    Raises ``ValueError`` for a structure that does not exist.
    """
    configs = strategy.walkers or tuple(WalkerConfig(structure=row) for row in range(n_structures))
    outside = sorted({each.structure for each in configs if each.structure >= n_structures})
    if outside:
        raise ValueError(
            f'strategy.walkers: structure {", ".join(map(str, outside))}, allowed: 0 to {n_structures - 1}, the frames '
            'of md_structure'
        )
    each = [config for config in configs for _ in range(config.count)]
    return {f'walker_{number}': _make_walker(config, strategy, md) for number, config in enumerate(each, start=1)}


def _make_walker(config: WalkerConfig, strategy: LoopStrategyConfig, shared: Mapping[str, Any]) -> Walker:
    md = MdConfig.model_validate(merge(shared, config.md))
    stride = strategy.stride_steps
    if stride is None and strategy.decoupled:
        stride = max(1, -(-md.n_steps // DEFAULT_STRIDES))
    return {
        'structure': config.structure,
        'md': dict(config.md),
        'goal': md.n_steps,
        'step': 0,
        'walked': 0,
        'stride': stride,
        'state': READY,
        'restart': None,
        'potential': None,
        'before': None,
        'generation': None,
        'shaken': False,
    }


def next_stop(walker: Walker) -> int | None:
    """Return the MD step at which the walker's next stretch ends before its goal, or ``None``."""
    if walker['stride'] is None:
        return None
    stop: int = walker['step'] + walker['stride']
    return stop if stop < walker['goal'] else None


def in_state(walkers: Mapping[str, Walker], state: str) -> list[str]:
    """Return the names of the walkers in this state."""
    return [name for name, walker in walkers.items() if walker['state'] == state]
