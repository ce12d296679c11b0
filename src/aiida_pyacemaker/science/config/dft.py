"""Settings of how DFT labels."""

from __future__ import annotations

from typing import Literal

from .base import Count, Positive, Settings


class DftConfig(Settings):
    """Static DFT; cut-offs and broadening in Ry, k-point distance in 1/Å including 2π, `None`: from the family.

    ``smearing`` is that of periodic frames; clusters, whose levels are discrete, always have gaussian smearing.
    ``assume_isolated`` 'auto' cuts images off wherever the box allows it; ``vacuum`` (Å) is what a direction without a
    cell vector gets on both sides. A cluster with ``odd_electrons`` gets two spins, or is refused where it has caps. An
    SCF without progress for ``stuck_after_s`` is ended. ``flagged_labels`` says what becomes of a label whose meaning a
    recovery changed; ``reuse_labels`` serves a label of the same frame and theory from anywhere in the profile.
    ``clean_workdir`` removes wave functions and densities as soon as nobody needs them ('consumed'), the whole remote
    folder ('all') or nothing.
    """

    ecutwfc: Positive | None = None
    ecutrho: Positive | None = None
    degauss: Positive = 0.015
    smearing: Literal['mv', 'gaussian', 'mp', 'fd'] = 'mv'
    kpoints_distance: Positive = 0.15
    conv_thr_per_atom: Positive = 2e-8
    electron_maxstep: Count = 80
    assume_isolated: Literal['auto', 'none'] = 'auto'
    vacuum: Positive = 6.0
    odd_electrons: Literal['spin', 'refuse'] = 'spin'
    force_limit_eV_per_A: Positive = 50.0
    rigid_force_limit_eV_per_A: Positive = 0.1
    max_concurrent: Count = 2
    stuck_after_s: Positive = 14400.0
    reuse_labels: bool = True
    flagged_labels: Literal['keep', 'quarantine'] = 'keep'
    clean_workdir: Literal['none', 'consumed', 'all'] = 'consumed'
