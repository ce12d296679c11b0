"""Settings of teachers that are no MACE file: what a teacher card may say."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .base import Positive, Settings


class ChgnetTeacherConfig(Settings):
    """CHGNet with weights that its package ships: ``0.3.0`` and ``0.2.0`` (PBE and PBE+U), ``r2scan``."""

    model: Literal['0.3.0', '0.2.0', 'r2scan'] = '0.3.0'


class AseTeacherConfig(Settings):
    """Any ASE calculator: ``model`` is ``module:class``, called with ``arguments``.

    elements: symbols it is good for; cutoff_A: its reach, used for the size of vacuum and for features of atoms.
    """

    model: str = Field(pattern=r'^[\w.]+:\w+$')
    elements: tuple[str, ...] = Field(min_length=1)
    cutoff_A: Positive = 6.0
    arguments: dict[str, Any] = {}
    licence: str | None = None
