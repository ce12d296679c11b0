"""What made walkers halt, counted: an event that comes back although it was learnt is cut out differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase.data import atomic_numbers

from ...data.dataset import AtomicDatasetData
from ...science.config import ActiveLearningThresholds, CutoutConfig, LoopStrategyConfig
from ...science.images import longest_bond
from ...science.md.events import fingerprint, same_event
from ...science.md.halting import limits

AS_SET, BIGGER_CORE, WHOLE_FRAME, GIVE_UP = range(4)
LEVELS = ('as set', 'a bigger core', 'a label of the whole frame', 'the end of the run')

Event = dict[str, Any]


@calcfunction
def describe_halt(frames: AtomicDatasetData, summary: orm.Dict, thresholds: orm.Dict) -> orm.Dict:
    """Return atom, MD step, γ and fingerprint of what the halt teaches: the highest γ, by threshold, of its frame."""
    row = summary['learning_row']
    frame = frames[row]
    rule = ActiveLearningThresholds.model_validate(thresholds.get_dict())
    gamma = np.where(np.isfinite(frame.gamma), frame.gamma, np.inf)
    atom = int(np.argmax(gamma / limits(rule, 'threshold_add_train', frame.numbers)))
    return orm.Dict(
        {
            'step': summary['frame_steps'][row],
            'atom': atom,
            'gamma': float(gamma[atom]) if np.isfinite(gamma[atom]) else None,
            'fingerprint': list(fingerprint(frame.atoms(0), atom)),
            'n_atoms': frame.n_atoms,
        }
    )


def find_event(events: Sequence[Event], found: Sequence[float]) -> int | None:
    """Return the number of the event that a fingerprint belongs to, the newest first, or ``None``."""
    for number in reversed(range(len(events))):
        if any(same_event(known, found) for known in events[number]['fingerprints']):
            return number
    return None


def new_event(halt: Mapping[str, Any]) -> Event:
    """Return an event that has not been counted yet.

    `count`: halts on it that were to be learnt; `walker`: who met it last, `walked`: MD steps that each walker had made
    then; `learnt`: generation of potentials that knows it (``None``: its labels are pending); `step`, `atom`: where it
    was first met.
    """
    return {
        'fingerprints': [halt['fingerprint']],
        'step': halt['step'],
        'atom': halt['atom'],
        'count': 0,
        'walker': None,
        'walked': {},
        'learnt': None,
    }


def count_halt(event: Event, walker: str, walked: Mapping[str, int], strategy: LoopStrategyConfig) -> int:
    """Count a halt of ``walker`` on ``event``; return the level of its cutout.

    walked: MD steps that each walker has made. How far others came says nothing about one that is stuck: halts are
    forgotten when both this walker and the one that met the event last have come far since.
    """
    since = [walked[name] - event['walked'].get(name, 0) for name in (walker, event['walker']) if name is not None]
    if min(since) > strategy.event_memory_steps:
        event['count'] = 0
    event.update(count=event['count'] + 1, walker=walker, walked=dict(walked), learnt=None)
    return min(max(AS_SET, int(event['count']) - strategy.max_event_repeats + 1), GIVE_UP)


def skip_impossible(level: int, n_atoms: int, settings: CutoutConfig) -> int:
    """Return ``level``, or the next where the whole frame has more atoms than may be labelled."""
    return GIVE_UP if level == WHOLE_FRAME and n_atoms > settings.max_frame_atoms else level


def escalate(settings: CutoutConfig, level: int, elements: Sequence[str]) -> CutoutConfig | None:
    """Return the settings of the cutout at ``level``; ``None``: as set.

    A bigger core has a radius longer by the longest bond, so that a one-atom core takes in its first neighbours, and
    as many more atoms are allowed as the ball grows.
    """
    if level == AS_SET:
        return None
    if level == WHOLE_FRAME:
        return settings.model_copy(update={'policy': 'whole_frame'})
    bond = longest_bond([atomic_numbers[element] for element in elements])
    reach = settings.core_radius + settings.buffer_radius
    growth = ((reach + bond) / reach) ** 3
    return settings.model_copy(
        update={
            'core_radius': settings.core_radius + bond,
            'max_label_atoms': int(np.ceil(growth * settings.max_label_atoms)),
        }
    )
