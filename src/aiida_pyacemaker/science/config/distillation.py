"""Settings of phase 1: pools, selection and labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Count, Positive, Settings
from .selection import SelectionConfig

StructureTypeName = Literal[
    'fcc', 'bcc', 'hcp', 'diamond', 'sc',
    'B1', 'B2', 'B3', 'L1_0', 'L1_2', 'D0_3', 'C1', 'rutile',
    'C1_b', 'L2_1', 'perovskite',
]  # fmt: skip
DEFAULT_SUBSYSTEMS = 2  # where elements are all that is given: unary and binary crystals


class PoolConfig(Settings):
    """How many structures of each kind a pool holds; temperatures in K, amplitudes in Å, strains dimensionless.

    ``subsystems`` adds prototypes of every set of up to so many elements, of the ``structure_types`` (all when empty);
    without it 2 where no structures are given, else 0. Temperatures that are not given follow from melting points.
    ``composition`` (element -> parts) is the alloy that quasirandom structures are made of and around; empty: every
    subsystem. ``check_forces: false`` leaves the teacher's judgement of a frame to the labels: a pool of 10⁵ frames
    then costs geometry only.
    """

    subsystems: int | None = Field(None, ge=0, le=3)
    structure_types: tuple[StructureTypeName, ...] = ()
    composition: dict[str, Positive] = {}
    n_strained: int = Field(40, ge=0)
    strain_max: float = Field(0.08, gt=0, lt=0.5)
    n_rattled: int = Field(60, ge=0)
    rattle_amplitudes: tuple[Positive, ...] = (0.03, 0.1, 0.2)
    n_vacancy: int = Field(20, ge=0)
    n_md_frames: int = Field(60, ge=0)
    md_temperatures_K: tuple[Positive, ...] = ()
    md_melting_fractions: tuple[Positive, ...] = (0.25, 0.75)
    md_steps_between_frames: Count = 20
    n_volumes: int = Field(0, ge=0)
    volume_strain_max: float = Field(0.1, gt=0, lt=0.5)
    n_sheared: int = Field(0, ge=0)
    n_monte_carlo: int = Field(0, ge=0)
    monte_carlo_amplitude: Positive = 0.3
    monte_carlo_distance_fraction: Positive = 0.75
    n_liquid: int = Field(0, ge=0)
    n_quenched: int = Field(0, ge=0)
    melt_temperature_K: Positive | None = None
    melt_melting_fraction: Positive = 1.5
    n_random: int = Field(0, ge=0)
    random_distance_fraction: Positive = 0.8
    n_interstitial: int = Field(0, ge=0)
    n_antisite: int = Field(0, ge=0)
    n_surface: int = Field(0, ge=0)
    n_normal_modes: int = Field(0, ge=0)
    normal_mode_temperatures_K: tuple[Positive, ...] = (300.0, 600.0, 1000.0)
    n_pairs: int = Field(0, ge=0)
    n_divacancy: int = Field(0, ge=0)
    n_frenkel: int = Field(0, ge=0)
    n_substituted: int = Field(0, ge=0)
    n_sqs: int = Field(0, ge=0)
    sqs_lattices: tuple[Literal['fcc', 'bcc', 'hcp', 'sc'], ...] = ('fcc', 'bcc')
    sqs_atoms: int = Field(32, ge=8, le=96)
    sqs_composition_step: float = Field(0.125, gt=0, lt=0.5)
    n_dimers: int = Field(20, ge=0)
    max_atoms: Count = 64
    min_distance_fraction: Positive = 0.6
    max_force_eV_per_A: Positive = 50.0
    check_forces: bool = True
    denser_factor: float = Field(1.6, gt=1.0)

    @property
    def n_frames(self) -> int:
        """Return how many frames are asked for, prototypes and the pairs for the baseline left aside."""
        return sum(getattr(self, name) for name in self._counts())

    def times(self, density: float) -> PoolConfig:
        """Return the settings with every count of frames multiplied by ``density`` and rounded."""
        return self.model_copy(update={name: round(getattr(self, name) * density) for name in self._counts()})

    def largest_subsystem(self, *, structures_given: bool) -> int:
        """Return how many elements the subsystems have at most that prototypes are made of, 0 for none."""
        if self.subsystems is not None:
            return self.subsystems
        return 0 if structures_given else DEFAULT_SUBSYSTEMS

    def _counts(self) -> list[str]:
        return [name for name in type(self).model_fields if name.startswith('n_') and name != 'n_dimers']


class DistillationConfig(Settings):
    """Phase 1: what the teacher shows the student before any DFT; thresholds in eV/Å.

    ``learning_curve``: parts of the labels that a student is fitted to as well; where twice as many frames promise an
    error lower by ``worth_gain`` or more, another pool is made, ``max_rounds`` in all at most.
    ``enable: false`` leaves phases 1 and 2 out of a loop that is given its `potential`.
    A frame above ``uncertainty_threshold`` (rms over its atoms) is rejected and kept as a candidate for DFT, an atom
    above ``atom_uncertainty_threshold`` is kept out of its frame; ``distance_threshold``: the limit of a frame for a
    teacher of one model, whose doubt is the distance to the relaxed prototypes in spreads of their features.
    ``mace_model_path`` names the teacher for a builder that is given none: a file, a foundation model or a plug-in.
    """

    enable: bool = True
    mace_model_path: str | tuple[str, ...] = 'medium-mpa-0'
    uncertainty_threshold: Positive = 0.05
    atom_uncertainty_threshold: Positive | None = None
    distance_threshold: Positive | None = None
    sampling_structures_per_system: Count = 1000
    n_selected: Count = 150
    held_out_fraction: float = Field(0.1, gt=0, lt=0.5)
    learning_curve: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.25, 0.5)
    worth_gain: float = Field(0.1, gt=0, lt=1)
    max_rounds: Count = 1
    selection: SelectionConfig = SelectionConfig()
    pool: PoolConfig = PoolConfig()
