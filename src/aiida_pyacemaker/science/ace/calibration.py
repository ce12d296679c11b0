"""How large force errors are at a given γ, learnt from labelled atoms and judged on those that came later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .weights import labelled_kinds

if TYPE_CHECKING:
    from ..config import ActiveLearningThresholds
    from ..frames import Frames
    from ..student import Student

Array = NDArray[np.float64]

LEVEL = 0.95
BIN_ATOMS = 40  # at least, of a bin: the 95 % quantile of fewer than 20 is not known at all


@dataclass(frozen=True, kw_only=True)
class GradedErrors:
    """Atoms whose label was known: gamma: (n,); errors: (n,) |F - F_label|, eV/Å."""

    gamma: Array
    errors: Array

    def __post_init__(self) -> None:
        gamma, errors = np.asarray(self.gamma, dtype=float), np.asarray(self.errors, dtype=float)
        if gamma.shape != errors.shape or gamma.ndim != 1:
            raise ValueError(f'gamma has shape {gamma.shape}, errors {errors.shape}, expected one of each an atom')
        if np.isnan(gamma).any() or not np.all(gamma >= 0):
            raise ValueError('gamma holds NaN or negative grades, expected ≥ 0 (inf where it is not finite)')
        if not np.all(errors >= 0):
            raise ValueError('errors hold NaN or negative values, expected |F - F_label|: mask atoms without a label')
        object.__setattr__(self, 'gamma', gamma)
        object.__setattr__(self, 'errors', errors)

    @classmethod
    def join(cls, parts: Sequence[GradedErrors]) -> GradedErrors:
        """Return all parts as one."""
        return cls(
            gamma=np.concatenate([np.zeros(0), *(part.gamma for part in parts)]),
            errors=np.concatenate([np.zeros(0), *(part.errors for part in parts)]),
        )


@dataclass(frozen=True, kw_only=True)
class GammaCalibration:
    """Bounds of the force error by bins of γ.

    Bin k holds edges[k] < γ ≤ edges[k + 1]; bounds[k] is the ⌈(n + 1) level⌉-th smallest error of its n atoms, inf
    where n is too small for that. For a new atom exchangeable with those of its bin, P(error ≤ bound) ≥ level (split
    conformal prediction by bins; Vovk et al., Algorithmic Learning in a Random World, 2005). MD visits other atoms
    than were labelled: the bound is then a guess, which :func:`judge_in_order` holds against what came later.

    edges: (K + 1,), edges[0] = 0; bounds: (K,) eV/Å; counts: (K,).
    """

    level: float
    edges: Array
    bounds: Array
    counts: NDArray[np.int64]

    def bound(self, gamma: ArrayLike) -> Array:
        """Return (n,) the bound of the force error at grades (n,), eV/Å; inf beyond the largest grade labelled."""
        grades = np.asarray(gamma, dtype=float)
        place = np.searchsorted(self.edges[1:], grades, side='left')
        return np.append(self.bounds, np.inf)[place]

    def threshold(self, error_eV_per_A: float) -> float:
        """Return the largest γ up to which every bound is at most ``error_eV_per_A``; 0 where none is."""
        above = np.flatnonzero(~(self.bounds <= error_eV_per_A))
        return float(self.edges[above[0] if len(above) else -1])


@dataclass(frozen=True, kw_only=True)
class PrequentialCoverage:
    """How each batch fared under the bounds that the batches before it gave.

    covered: (B,) fraction of errors within their bound, NaN for a batch that nothing came before or without atoms;
    n_atoms: (B,); n_unbounded: (B,) atoms among them whose bound is inf (covered, but nothing was promised);
    thresholds: (B,) γ at which the bounds of the batches before reach ``error_eV_per_A``.
    """

    level: float
    error_eV_per_A: float
    covered: Array
    n_atoms: NDArray[np.int64]
    n_unbounded: NDArray[np.int64]
    thresholds: Array

    @property
    def overall(self) -> float:
        """The fraction over all judged atoms that had a finite bound; NaN when there is none."""
        judged = np.isfinite(self.covered)
        bounded = (self.n_atoms - self.n_unbounded)[judged]
        inside = (self.covered * self.n_atoms)[judged] - self.n_unbounded[judged]
        return float(inside.sum() / bounded.sum()) if bounded.sum() else float('nan')


def calibrate_gamma(known: GradedErrors, *, level: float = LEVEL, n_bins: int = 8) -> GammaCalibration:
    """Return bounds in at most ``n_bins`` bins of γ with equally many atoms, at least BIN_ATOMS each.

    ``ValueError`` without a single atom of finite γ, or for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f'level is {level}, expected a fraction between 0 and 1')
    finite = np.isfinite(known.gamma)
    gamma, errors = known.gamma[finite], known.errors[finite]
    if not len(gamma):
        raise ValueError('no labelled atom with a finite γ, expected some: give held-out frames with forces')
    count = max(1, min(n_bins, len(gamma) // BIN_ATOMS))
    edges = np.unique(np.append(0.0, np.quantile(gamma, np.arange(1, count + 1) / count, method='higher')))
    edges = edges if len(edges) > 1 else np.array([0.0, np.finfo(float).tiny])
    bins = np.searchsorted(edges[1:], gamma, side='left')
    members = [np.sort(errors[bins == index]) for index in range(len(edges) - 1)]
    return GammaCalibration(
        level=level,
        edges=edges,
        bounds=np.array([conformal_quantile(part, level) for part in members]),
        counts=np.array([len(part) for part in members], dtype=np.int64),
    )


def calibration_report(known: GradedErrors, *, level: float = LEVEL) -> dict[str, Any] | None:
    """Return :func:`calibrate_gamma` as plain values (bounds None where not finite), or None without a finite γ."""
    if not np.isfinite(known.gamma).any():
        return None
    found = calibrate_gamma(known, level=level)
    return {
        'level': found.level,
        'gamma_edges': found.edges.tolist(),
        'force_error_bounds_eV_per_A': [bound if np.isfinite(bound) else None for bound in found.bounds.tolist()],
        'n_atoms': found.counts.tolist(),
        'n_atoms_of_infinite_gamma': int(np.count_nonzero(np.isinf(known.gamma))),
    }


def calibrated_thresholds(
    thresholds: ActiveLearningThresholds, report: Mapping[str, Any] | None
) -> ActiveLearningThresholds:
    """Return thresholds whose call is the γ up to which held-out errors stayed below ``target_force_error``.

    report: of :func:`calibration_report` at level ``coverage``. Add (never below 1) and danger keep their ratios to
    call. What was true of held-out frames need not be of those that MD visits: no guarantee, see `batch_coverage`.
    ``ValueError`` without a report or where no γ above 1 keeps the target.
    """
    target = thresholds.target_force_error
    if report is None or target is None:
        raise ValueError('target_force_error: no held-out atoms to calibrate on; give distillation.held_out_fraction')
    bounds = np.array([np.inf if bound is None else bound for bound in report['force_error_bounds_eV_per_A']])
    calibration = GammaCalibration(
        level=report['level'], edges=np.array(report['gamma_edges']), bounds=bounds, counts=np.array(report['n_atoms'])
    )
    call = calibration.threshold(target)
    if not call > 1:
        raise ValueError(
            f'target_force_error = {target} eV/Å: {100 * report["level"]:g} % of the held-out errors stay below it up '
            f'to γ = {call:.2f} only, expected more than 1; the bounds from low to high γ are '
            f'{", ".join(f"{bound:.3f}" for bound in bounds)} eV/Å: ask for less or fit a better student'
        )
    ratio = call / thresholds.threshold_call_dft
    add = min(max(1.0, thresholds.threshold_add_train * ratio), 0.5 * (1.0 + call))
    new = {
        'threshold_add_train': add,
        'threshold_call_dft': call,
        'threshold_danger': thresholds.threshold_danger * ratio,
    }
    return type(thresholds).model_validate({**thresholds.model_dump(), **new})


def batch_coverage(known: GradedErrors, thresholds: ActiveLearningThresholds) -> dict[str, Any]:
    """Return how labels fared that came after the thresholds were chosen, before they were learnt (Dawid, 1984).

    ``covered``: of the atoms at or below call, the fraction with an error of at most ``target_force_error``; None
    without a target or such atoms. ``known``: what the student said of these atoms before it saw their labels.
    """
    calm = known.gamma <= thresholds.call_on_gamma
    target = thresholds.target_force_error
    covered = None if target is None or not calm.any() else float(np.mean(known.errors[calm] <= target))
    high = np.quantile(known.errors, LEVEL) if len(known.errors) else np.nan
    return {
        'threshold_call_dft': thresholds.call_on_gamma,
        'target_force_error_eV_per_A': target,
        'coverage_aimed_at': thresholds.coverage,
        'n_atoms': len(known.errors),
        'n_at_or_below_call': int(np.count_nonzero(calm)),
        'covered': covered,
        'error_95_percent_eV_per_A': float(high) if np.isfinite(high) else None,
    }


def conformal_quantile(ascending: Array, level: float) -> float:
    """Return the ⌈(n + 1) level⌉-th smallest of n ascending values, inf where that is beyond the largest."""
    rank = int(np.ceil((len(ascending) + 1) * level - 1e-9))
    return float(ascending[rank - 1]) if rank <= len(ascending) else float('inf')


def judge_in_order(
    batches: Sequence[GradedErrors], *, error_eV_per_A: float, level: float = LEVEL, n_bins: int = 8
) -> PrequentialCoverage:
    """Return how batches of labels fared one after the other, each under bounds from those before it (Dawid, 1984).

    This is what a user of the potential would have seen, including the shift between what was labelled and what MD
    met next; no batch is judged by bounds that know it.
    """
    covered, unbounded, thresholds = [], [], []
    for index, batch in enumerate(batches):
        before = GradedErrors.join(batches[:index])
        if not np.isfinite(before.gamma).any():
            covered.append(np.nan)
            unbounded.append(len(batch.errors))
            thresholds.append(0.0)
            continue
        calibration = calibrate_gamma(before, level=level, n_bins=n_bins)
        bounds = calibration.bound(batch.gamma)
        covered.append(float(np.mean(batch.errors <= bounds)) if len(bounds) else np.nan)
        unbounded.append(int(np.count_nonzero(np.isinf(bounds))))
        thresholds.append(calibration.threshold(error_eV_per_A))
    return PrequentialCoverage(
        level=level,
        error_eV_per_A=error_eV_per_A,
        covered=np.array(covered),
        n_atoms=np.array([len(batch.errors) for batch in batches], dtype=np.int64),
        n_unbounded=np.array(unbounded, dtype=np.int64),
        thresholds=np.array(thresholds),
    )


def graded_errors(frames: Frames, student: Student) -> GradedErrors:
    """Return γ and force error of every atom with a force label of weight > 0; ``ValueError`` without active set."""
    if student.active_set is None:
        raise ValueError('the student has no active set, expected one: γ is calibrated with it')
    calculator, gamma, errors = student.calculator(), [np.zeros(0)], [np.zeros(0)]
    for index, atoms in enumerate(frames.iter_atoms()):
        if 'forces' not in labelled_kinds(frames, index):
            continue
        span = frames.span(index)
        counts = frames.force_weight[span] > 0
        atoms.calc = calculator
        difference = atoms.get_forces() - frames.forces[span]
        errors.append(np.linalg.norm(difference, axis=1)[counts])
        gamma.append(np.asarray(calculator.results['gamma'])[counts])
    return GradedErrors(gamma=np.concatenate(gamma), errors=np.concatenate(errors))
