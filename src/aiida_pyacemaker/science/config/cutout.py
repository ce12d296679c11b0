"""Settings of what is cut out of a halted frame."""

from __future__ import annotations

from typing import Literal

from ase.data import chemical_symbols
from pydantic import field_validator

from .base import Count, NonNegative, Positive, Settings


class CutoutConfig(Settings):
    """Phase 3: what is cut out of a halted frame; lengths in Å. A ``core_radius`` of 0 is a one-atom core.

    ``policy`` says how: 'auto' asks the bonding around the epicentre. What a policy rejects, the next one tries while
    ``fallback`` is on, the whole frame last, if it has at most ``max_frame_atoms``. The whole frame is also labelled
    when its SCF costs at most ``whole_frame_cost_ratio`` times the cutout's (0: never): then energy and stress are
    learnt too. ``weigh_by_noise``: a core force counts the less, the more cutting is known to change it; else all count
    alike. ``fractional_caps``: hosts with other than four valence electrons need a pseudo-hydrogen of their own.
    """

    core_radius: NonNegative = 4.0
    buffer_radius: Positive = 3.0
    enable_pre_relaxation: bool = True
    relax_buffer: bool = False  # a buffer that moves gives the core the force of another surrounding
    enable_passivation: bool = True
    passivation_element: str = 'H'
    fractional_caps: bool = True
    policy: Literal['auto', 'covalent', 'molecular', 'metal', 'ionic', 'surface', 'whole_frame'] = 'auto'
    fallback: bool = True
    whole_frame_cost_ratio: NonNegative = 1.3
    max_frame_atoms: Count = 200
    max_epicentres: Count = 2
    max_label_atoms: Count = 130
    vacuum: Positive = 6.0
    pre_relaxation_steps: Count = 30
    pre_relaxation_fmax: Positive = 0.3
    max_displacement: Positive = 0.5
    weigh_by_noise: bool = True

    @field_validator('passivation_element')
    @classmethod
    def _element_exists(cls, value: str) -> str:
        if value not in chemical_symbols[1:]:
            raise ValueError(f"passivation_element {value!r} is no element; allowed: a chemical symbol as 'H'")
        return value
