"""What made walkers halt, counted: an event that comes back although it was learnt is cut out differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase.data import atomic_numbers

from ...data.dataset import AtomicDatasetData
from ...science.config import CutoutConfig, LoopStrategyConfig
from ...science.images import longest_bond
from ...science.md.events import fingerprint, same_event

AS_SET, BIGGER_CORE, WHOLE_FRAME, GIVE_UP = range(4)
LEVELS = ('as set', 'a bigger core', 'a label of the whole frame', 'the end of the run')

Event = dict[str, Any]


@calcfunction
def describe_halt(frames: AtomicDatasetData, summary: orm.Dict) -> orm.Dict:
    """Return atom, MD step, γ and fingerprint of what the halt teaches: the highest γ of the learning frame."""
    row = summary['learning_row']
    frame = frames[row]
    gamma = np.where(np.isfinite(frame.gamma), frame.gamma, np.inf)
    atom = int(np.argmax(gamma))
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

    `count`: halts on it that were to be learnt; `walked`: MD steps of all walkers at the last of them; `learnt`:
    generation of potentials that knows it (``None``: its labels are pending); `step`, `atom`: where it was first met.
    """
    return {
        'fingerprints': [halt['fingerprint']],
        'step': halt['step'],
        'atom': halt['atom'],
        'count': 0,
        'walked': 0,
        'learnt': None,
    }


def count_halt(event: Event, walked: int, strategy: LoopStrategyConfig) -> int:
    """Count a halt on ``event`` after ``walked`` MD steps of all walkers; return the level of its cutout."""
    if walked - event['walked'] > strategy.event_memory_steps:
        event['count'] = 0  # MD came far in between: it is met again, not stuck
    event['count'] += 1
    event['walked'] = walked
    event['learnt'] = None
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
