"""Reading what a task was given, with failures that have names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from ..science.frames import Frames
from .base import TaskFailure


def read_frames(path: str | Path) -> Frames:
    """Return the frames of a file that holds at least one; ``UNREADABLE_FILE`` or ``NOTHING_LEFT`` otherwise."""
    try:
        frames = Frames.load(path)
    except ValueError as error:
        raise TaskFailure('UNREADABLE_FILE', str(error)) from error
    if len(frames) == 0:
        raise TaskFailure('NOTHING_LEFT', f'{path} holds no frames, expected at least one')
    return frames


def check_elements(frames: Frames, known: Sequence[str], owner: str) -> None:
    """Raise ``UNKNOWN_ELEMENT`` when ``frames`` hold an element that is not ``known`` to ``owner``."""
    found = [chemical_symbols[number] for number in np.unique(frames.numbers)]
    unknown = [symbol for symbol in found if symbol not in known]
    if unknown:
        message = f'{owner}: unknown element {", ".join(unknown)}, allowed: {", ".join(known)}'
        raise TaskFailure('UNKNOWN_ELEMENT', f'{message}; remove these structures or give a model that knows them')
