"""Teacher cards: small files that stand for a teacher that is no MACE file, opened by an entry point.

A plug-in is an entry point of the group ``pyacemaker.teachers``: ``open(settings, *, dtype, device) -> Engine``. Its
name is the family of the teacher; a card says which settings to open it with:
``{"teacher": "chgnet", "settings": {"model": "0.3.0"}, "sha256": "..."}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ..engine import Dtype, Engine

GROUP = 'pyacemaker.teachers'
SUFFIX = '.json'
KEYS = frozenset({'teacher', 'settings', 'sha256'})


@dataclass(frozen=True, kw_only=True)
class Card:
    """Which plug-in to open with which settings, and the sha256 that its engine must have (``None``: any)."""

    teacher: str
    settings: Mapping[str, Any]
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The card as a user would name it."""
        return ':'.join([self.teacher, *([str(self.settings['model'])] if 'model' in self.settings else [])])

    def text(self) -> str:
        """Return the file's content: equal cards have equal bytes."""
        return json.dumps(self.__dict__, indent=1, sort_keys=True) + '\n'

    def open(self, *, dtype: Dtype = 'float64', device: str | None = None) -> Engine:
        """Return the engine; raise ``ValueError`` for an unknown or missing plug-in, bad settings or other weights."""
        try:
            engine = find_plugin(self.teacher).load()(self.settings, dtype=dtype, device=device)
        except ImportError as error:
            raise ValueError(f'the teacher {self.teacher} is not installed on this machine: {error}') from error
        if not isinstance(engine, Engine):
            raise ValueError(f'the plug-in {self.teacher} gave a {type(engine).__name__}, expected an Engine')
        if self.sha256 is not None and engine.sha256[0] != self.sha256:
            raise ValueError(
                f'the teacher {self.teacher} has sha256 {engine.sha256[0]} here, expected {self.sha256}: install the '
                f'version of {" and ".join(engine.PACKAGES)} that the card was made with'
            )
        return engine


def plugin_names() -> tuple[str, ...]:
    """Return the families that entry points offer."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def find_plugin(name: str) -> Any:
    """Return the entry point; raise ``ValueError`` naming those there are."""
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point
    raise ValueError(f'no teacher {name!r}: entry points of {GROUP} are {", ".join(plugin_names()) or "none"}')


def is_card(path: str | Path) -> bool:
    """Say whether a file is a card by its name."""
    return Path(path).suffix == SUFFIX


def read_card(path: str | Path) -> Card:
    """Read a card; raise ``ValueError`` naming the file when it is none."""
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f'{path} is no teacher card: {error}') from error
    if not isinstance(content, dict) or 'teacher' not in content or not set(content) <= KEYS:
        raise ValueError(f'{path} is no teacher card: expected the keys {", ".join(sorted(KEYS))}')
    return Card(teacher=content['teacher'], settings=content.get('settings', {}), sha256=content.get('sha256'))


def named_card(name: str) -> Card | None:
    """Return the card of ``family`` or ``family:model`` when a plug-in has that name, else ``None``."""
    family, _, model = name.partition(':')
    if family not in plugin_names():
        return None
    return Card(teacher=family, settings={'model': model} if model else {})
