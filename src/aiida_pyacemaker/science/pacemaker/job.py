"""One fit by pacemaker: from labelled frames to the files it reads, and from what it leaves to a student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ace import AcePotential
from ..ace.basis import pacemaker_section
from ..ace.blocks import theory_of
from ..ace.weights import mean_force_weight
from ..baseline import PairBaseline
from ..config import FitConfig, PacemakerConfig
from ..frames import Frames
from ..student import Student
from .fitted import describe_fit, learnt_active_set
from .input_file import DATA_FILE, INPUT_FILE, START_FILE, input_document, write_input
from .learning_set import Source, adopt_zero, drop_close_atoms, make_learning_set
from .potentials import write_start
from .reference import Reference, inner_geometry

NO_BASELINE = PairBaseline(kind='none', pairs={})


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """What a fit is made of.

    sources: by name, weights already taken from atoms where the baseline rules; previous: the student that is fitted
    on, ``None`` for a first fit; factors and zero shifts are those of the sources.
    """

    elements: tuple[str, ...]
    fit: FitConfig
    pacemaker: PacemakerConfig
    reference: Reference
    sources: Mapping[str, Source]
    previous: Student | None = None

    @property
    def section(self) -> dict[str, Any]:
        """The ``potential`` section of ``input.yaml`` for a new basis."""
        return pacemaker_section(self.elements, self.fit.whole_basis, bond_length=self.reference.bond_length)


def make_job(
    settings: Mapping[str, Any], frames: Mapping[str, Frames], reference: Reference | None, previous: Student | None
) -> FitJob:
    """Return the job of ``settings`` (elements, fit, pacemaker, factors, own_zero) on ``frames`` by source.

    A source counts its factor, times ``fit.weight_dft`` and the mean weight of its forces where its labels are DFT's.
    With a ``previous`` student its baseline and reference energies hold, and the sources in ``own_zero`` are moved to
    its zero; without one, ``reference`` says them.
    """
    fit = FitConfig.model_validate(settings.get('fit') or {})
    elements = tuple(sorted(settings['elements']))
    if previous is not None:
        energies = previous.potential.reference_energies
        reference = Reference(baseline=previous.baseline or NO_BASELINE, energies=energies)
    if reference is None:
        raise ValueError('neither a previous potential nor a reference is given: baseline and E0 are unknown')
    known = previous.potential if previous else inner_geometry(elements, fit.whole_basis, reference.bond_length)
    factors, own_zero = settings.get('factors') or {}, set(settings.get('own_zero') or ())
    sources = {}
    for name, part in frames.items():
        theory = fit.weight_dft * mean_force_weight(part) if theory_of(part) == 'dft' else 1.0
        factor = factors.get(name, 1.0) * theory
        learnt = part.without_flagged() if fit.flagged_labels == 'leave_out' else part
        source = drop_close_atoms(Source(frames=learnt, factor=factor), known)
        if previous is not None and name in own_zero:
            source = adopt_zero(source, previous.potential, reference.baseline)
        sources[name] = source
    return FitJob(
        elements=elements,
        fit=fit,
        pacemaker=PacemakerConfig.model_validate(settings.get('pacemaker') or {}),
        reference=reference,
        sources=sources,
        previous=previous,
    )


def write_job(job: FitJob, folder: Path, *, start: Path | None, seed: int) -> None:
    """Write ``input.yaml``, the data set and, unless the fit begins with nothing, ``start.yaml`` into ``folder``.

    start: the potential to go on from, of a fit that was cut off or of the previous one.
    """
    learning = make_learning_set(job.sources, job.fit, job.reference)
    learning.write(folder / DATA_FILE)
    begun = None if start is None else write_start(start, folder / START_FILE)
    on_a_ladder = bool(job.pacemaker.ladder_step) and job.previous is None
    document = input_document(
        job.pacemaker,
        potential=job.section if begun is None or on_a_ladder else None,
        start=begun,
        kappa=learning.kappa,
        reference_energies=job.reference.energies,
        seed=seed,
    )
    write_input(folder / INPUT_FILE, document)


def finish_job(job: FitJob, potential: AcePotential, held_out: Frames | None) -> tuple[Student, dict[str, Any]]:
    """Return the student, pacemaker's coefficients over the reference energies, with its active set; and its metrics.

    Raises ``TooFewEnvironments`` where the atoms that were learnt do not span the functions.
    """
    whole = potential.with_reference_energies(dict(job.reference.energies))
    complete = bool(getattr(job.fit, 'complete_active_set', False))
    active_set = learnt_active_set(whole, job.sources, complete=complete)
    student = Student(potential=whole, active_set=active_set, baseline=job.reference.baseline)
    return student, describe_fit(student, job.sources, held_out)
