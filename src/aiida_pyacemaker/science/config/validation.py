"""Settings of the gates of phase 2."""

from __future__ import annotations

from .base import Count, Positive, Settings


class ValidationConfig(Settings):
    """Phase 2: gates of the student against the teacher; relative tolerances, miniature MD in steps and K."""

    tolerance_lattice: Positive = 0.01
    tolerance_bulk: Positive = 0.15
    tolerance_elastic: Positive = 0.25
    md_steps: Count = 2000
    md_temperature_K: Positive = 300.0
    md_max_gamma: Positive = 10.0
    max_attempts: Count = 3
