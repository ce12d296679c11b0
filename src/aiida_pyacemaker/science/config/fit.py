"""Settings of the student and of what the teacher learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Count, NonNegative, Positive, Settings
from .basis import BasisConfig, BondConfig


class FitConfig(Settings):
    """The student: its basis, weights of energy/forces/stress rows, ridge.

    ``cutoff`` (Å) and ``number_of_functions_per_element`` are short for, and win over, ``basis.bonds.*.rcut`` and
    ``basis.functions.number_of_functions_per_element``. ``complete_active_set``: fewer independent environments than
    functions are no error; what was never seen gets huge grades. ``flagged_labels``: whether labels whose meaning a
    recovery changed are learnt; those in blocks of earlier fits stay as they were.
    """

    basis: BasisConfig = BasisConfig()
    cutoff: Positive | None = None
    number_of_functions_per_element: Count | None = None
    weight_energy: NonNegative = 1.0
    weight_forces: NonNegative = 100.0
    weight_stress: NonNegative = 10.0
    weight_dft: Positive = 10.0
    group_weights: dict[str, NonNegative] = {}
    force_ceiling: Positive | None = None
    flagged_labels: Literal['use', 'leave_out'] = 'use'
    robust_threshold: Positive | None = None
    ridge: Positive | Literal['evidence', 'cross-validation'] | None = None
    ridge_floor: Positive = 1e-13
    n_folds: Annotated[int, Field(ge=2)] = 5
    complete_active_set: bool = False
    old_teacher_policy: Literal['forget', 'down-weight'] = 'down-weight'
    old_teacher_factor: Positive = 0.1

    @property
    def whole_basis(self) -> BasisConfig:
        """The basis with what ``cutoff`` and ``number_of_functions_per_element`` say put into it."""
        basis = self.basis
        if self.cutoff is not None:
            short = BondConfig(rcut=self.cutoff)
            bonds = {'ALL': short} | {key: short.over(bond) for key, bond in basis.bonds.items()}
            basis = basis.model_copy(update={'bonds': bonds})
        if self.number_of_functions_per_element is not None:
            update = {'number_of_functions_per_element': self.number_of_functions_per_element}
            basis = basis.model_copy(update={'functions': basis.functions.model_copy(update=update)})
        return basis


class FinetuneConfig(Settings):
    """Phase 4: readouts of the teacher on DFT forces, then surrogate frames around the halt.

    ``flagged_labels``: whether labels whose meaning a recovery changed are learnt, as in ``fit``.
    """

    max_epochs: Count = 60
    learning_rate: Positive = 1e-3
    anchor_weight: NonNegative = 1.0
    forces_on: Literal['core', 'frozen', 'all'] = 'core'
    flagged_labels: Literal['use', 'leave_out'] = 'use'
    n_surrogate_frames: Count = 24
    surrogate_amplitude: Positive = 0.08
    surrogate_md_temperature_K: Positive = 900.0
    surrogate_md_steps: Count = 25
