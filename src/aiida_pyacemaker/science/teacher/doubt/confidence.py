"""What a teacher's labels are worth: how unsure it is of every atom, and which frames and atoms to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...frames import HAS_FORCES, Frames
from ..committee import Teacher
from ..labels import atom_features, label_frames
from .latent import LatentHome, settle
from .trust import ErrorScale, judge_trust, learn_scale

if TYPE_CHECKING:
    from ...ace.calibration import GradedErrors

Array = NDArray[np.float64]
Kind = Literal['committee', 'distance', 'none']


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """How a teacher's uncertainty is had: by ``committee``, ``distance`` to a home, or not at all.

    scale: what a grade is in eV/Å, once labels have told; report: how far it can be trusted, with the size of the force
    as the baseline beside it.
    """

    kind: Kind
    home: LatentHome | None
    scale: ErrorScale | None
    report: dict[str, Any]

    @property
    def has_unit(self) -> bool:
        """Whether the uncertainty is a force error in eV/Å; a distance is one only when labels have calibrated it."""
        return self.kind == 'committee' or self.scale is not None

    @property
    def unit(self) -> str:
        """Unit of the uncertainty."""
        return 'eV/Å' if self.has_unit else 'spreads of the known features'

    def grades(self, teacher: Teacher, labelled: Frames) -> Array:
        """Return (M,) the raw grade of every atom of frames that this teacher labelled; zero where there is none."""
        if self.home is None:
            return labelled.uncertainty
        return grade_by_distance(teacher, self.home, labelled)

    def apply(self, teacher: Teacher, labelled: Frames) -> tuple[Frames, Array]:
        """Return the frames with ``uncertainty`` in eV/Å (NaN where it has no unit), and the raw grades (M,)."""
        grades = self.grades(teacher, labelled)
        if self.scale is not None:
            expected = self.scale.expect(grades)
            return labelled.with_columns(uncertainty=np.where(np.isnan(grades), np.nan, expected)), grades
        if self.kind == 'distance':
            return labelled.with_columns(uncertainty=np.full(labelled.n_atoms, np.nan)), grades
        return labelled, grades


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a label must not exceed; ``None``: no limit.

    frame: eV/Å, of the rms over a frame's atoms (the scale of the force error that the frame would teach; a maximum
    would sort frames by size); atom: eV/Å, an atom above it is kept out of a frame that is kept; distance: as ``frame``
    for a distance that no label has calibrated; force: eV/Å, of the longest force in a frame.
    """

    frame: float | None = None
    atom: float | None = None
    distance: float | None = None
    force: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which of N frames pass: reason: (N,) the first that applies, '' where a frame is kept; masked: (M,) atoms."""

    reason: NDArray[np.str_]
    masked: NDArray[np.bool_]
    spread: Array

    REASONS = ('non_finite', 'max_force', 'uncertainty', 'distance')
    # what a better label would mend: a candidate for DFT; the others are no structures to learn from
    DOUBTFUL = ('uncertainty', 'distance')

    @property
    def kept(self) -> NDArray[np.int64]:
        """Rows that pass."""
        return np.flatnonzero(self.reason == '')

    @property
    def doubtful(self) -> NDArray[np.int64]:
        """Rows that the teacher is too unsure of."""
        return np.flatnonzero(np.isin(self.reason, self.DOUBTFUL))

    @property
    def counts(self) -> dict[str, int]:
        """How many frames fail by reason."""
        return {name: int((self.reason == name).sum()) for name in self.REASONS}


def judge_labels(frames: Frames, grades: Array, limits: Limits, *, has_unit: bool) -> Verdict:
    """Return which labelled frames, and which of their atoms, are within the limits; grades: (M,) without unit."""
    spread = frame_rms(frames, frames.uncertainty if has_unit else grades)
    length = np.linalg.norm(frames.forces, axis=1)
    longest = np.array([length[frames.span(row)].max(initial=0.0) for row in range(len(frames))])
    limit = limits.frame if has_unit else limits.distance
    checks = {
        'uncertainty' if has_unit else 'distance': spread > (np.inf if limit is None else limit),
        'max_force': longest > (np.inf if limits.force is None else limits.force),
        'non_finite': frames.label_mask == 0,
    }
    reason = np.full(len(frames), '', dtype='<U16')
    for name, failed in checks.items():
        reason[failed] = name
    above = frames.uncertainty > (np.inf if limits.atom is None or not has_unit else limits.atom)
    return Verdict(reason=reason, masked=above & (reason == '')[frames.frame_of_atom()], spread=spread)


def mask_atoms(frames: Frames, masked: NDArray[np.bool_]) -> Frames:
    """Return the frames, masked atoms without weight; a frame that has one teaches forces only."""
    touched = np.bincount(frames.frame_of_atom()[masked], minlength=len(frames)) > 0
    return frames.with_columns(
        force_weight=np.where(masked, 0.0, frames.force_weight),
        label_mask=np.where(touched, frames.label_mask & HAS_FORCES, frames.label_mask),
    )


def frame_rms(frames: Frames, values: Array) -> Array:
    """Return (N,) the rms over each frame's atoms; values: (M,)."""
    counts = np.maximum(np.diff(frames.offsets), 1)
    sums = np.bincount(frames.frame_of_atom(), weights=values**2, minlength=len(frames))
    rms: Array = np.sqrt(sums / counts)
    return rms


def grade_by_distance(teacher: Teacher, home: LatentHome, labelled: Frames) -> Array:
    """Return (M,) distances; NaN for atoms of frames without a label (their features may not exist)."""
    rows = np.flatnonzero(labelled.label_mask > 0)
    known = labelled.select(rows)
    grades = np.full(labelled.n_atoms, np.nan)
    inside = np.isin(labelled.frame_of_atom(), rows)
    grades[inside] = home.distance(atom_features(teacher, known), known.numbers) if len(rows) else []
    return grades


def find_doubt(teacher: Teacher, *, home: Sequence[Frames], batches: Sequence[Frames]) -> Doubt:
    """Return how unsure a teacher can be said to be, calibrated on DFT labels when there are any.

    home: frames that the teacher is at home with, for a teacher of one member; batches: frames with DFT forces, in the
    order in which they were labelled; they calibrate, and belong to the home as well. An atom counts when its force
    has weight.
    """
    known = [part for part in batches if counted_atoms(part).any()]
    kind: Kind = 'committee' if teacher.n_members > 1 else 'distance' if home or known else 'none'
    told = [label_frames(teacher, part) for part in known]
    place = settle(teacher, [*home, *known]) if kind == 'distance' else None
    report: dict[str, Any] = {'kind': kind, 'calibrated': False}
    if not known or kind == 'none':
        return Doubt(kind=kind, home=place, scale=None, report=report)
    graded = [said.uncertainty for said in told] if place is None else grade_own(teacher, place, home, known)
    forces = [np.linalg.norm(said.forces, axis=1) for said in told]
    errors = [np.linalg.norm(said.forces - part.forces, axis=1) for said, part in zip(told, known, strict=True)]
    counted = [counted_atoms(part) & np.isfinite(error) for part, error in zip(known, errors, strict=True)]
    batched = collect(graded, errors, counted)
    report |= judge_trust(batched) | {'baseline_force': judge_trust(collect(forces, errors, counted))}
    from ...ace.calibration import GradedErrors

    scale = learn_scale(GradedErrors.join(batched))
    return Doubt(kind=kind, home=place, scale=scale, report={**report, 'calibrated': True})


def counted_atoms(frames: Frames) -> NDArray[np.bool_]:
    """Return (M,) whether an atom has a force label of weight."""
    has = (frames.label_mask & HAS_FORCES) > 0
    counted: NDArray[np.bool_] = has[frames.frame_of_atom()] & (frames.force_weight > 0)
    return counted


def grade_own(teacher: Teacher, place: LatentHome, home: Sequence[Frames], known: Sequence[Frames]) -> list[Array]:
    """Return the distances of labelled atoms to the home without their own frame, as for a frame that is new."""
    start, grades = sum(len(part) for part in home), []
    for part in known:
        own = part.frame_of_atom() + start
        features = atom_features(teacher, part)
        distance = place.distance(features, part.numbers, own)
        grades.append(np.where(np.isfinite(features).all(axis=1), distance, np.inf))
        start += len(part)
    return grades


def collect(
    grades: Sequence[Array], errors: Sequence[Array], counted: Sequence[NDArray[np.bool_]]
) -> list[GradedErrors]:
    """Return grade and error of the atoms that count, batch by batch."""
    from ...ace.calibration import GradedErrors

    return [
        GradedErrors(gamma=grade[rows], errors=error[rows])
        for grade, error, rows in zip(grades, errors, counted, strict=True)
    ]
