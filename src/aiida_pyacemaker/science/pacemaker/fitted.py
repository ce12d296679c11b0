"""From pacemaker's potential to a student: reference energies, active set, errors, canary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ace import AcePotential, ActiveSet
from ..ace.active_set import CandidateStream, build_active_set, environments_of, fill, results_of
from ..ace.blocks import theory_of
from ..ace.quality import grade_quantiles, prediction_errors, short_range_report
from ..frames import Frames
from ..student import Student, choose_canary, sharper_canary, write_canary
from .learning_set import Source


def learnt_active_set(potential: AcePotential, sources: Mapping[str, Source], *, complete: bool) -> ActiveSet:
    """Return the active set of the atoms that were learnt: those with weight > 0 in frames that give rows.

    Raises ``TooFewEnvironments``, unless ``complete``, which gives huge grades to what was never seen.
    """
    streams = [CandidateStream(count) for count in potential.n_functions]

    def environments() -> Iterator[tuple[int, NDArray[np.float64]]]:
        for source in sources.values():
            for index in source.learnt_rows() if source.factor > 0 else ():
                weight = source.frames.force_weight[source.frames.span(index)]
                yield from environments_of(potential, source.frames.atoms(index), weight > 0)

    fill(streams, environments)
    return build_active_set(results_of(streams, potential), complete=complete)


def write_student(folder: Path, student: Student, sources: Mapping[str, Source]) -> None:
    """Write the files of a student into ``folder``, with a canary where a training frame is small enough for one."""
    assert student.active_set is not None and student.baseline is not None
    student.potential.write_yaml(folder / 'potential.yaml')
    student.potential.write_yace(folder / 'potential.yace')
    student.active_set.write(folder / 'potential.asi')
    if student.baseline.pairs:
        (folder / 'baseline.json').write_text(student.baseline.to_json())
        student.baseline.write_lammps_table(folder / 'baseline.table')
    frames = [source.frames.atoms(int(row)) for source in sources.values() for row in source.learnt_rows()]
    canary = choose_canary(frames, student.potential.elements)
    if canary is not None:
        write_canary(folder, student, sharper_canary(student, canary))


def describe_fit(student: Student, sources: Mapping[str, Source], held_out: Frames | None) -> dict[str, Any]:
    """Return metrics under the names that the embedded trainer gives them: errors by source and held out, grades."""
    potential, baseline = student.potential, student.baseline
    assert student.active_set is not None and baseline is not None
    metrics: dict[str, Any] = {
        'sources': {name: _describe_source(student, source) for name, source in sources.items()},
        'n_functions': [int(count) for count in potential.n_functions],
        'elements': list(potential.elements),
        'cutoff': potential.cutoff,
        'reference_energies': dict(potential.reference_energies),
        'baseline': {key: {'form': term.form, 'note': term.note} for key, term in baseline.pairs.items()},
        'short_range': short_range_report(potential, baseline),
    }
    if held_out is not None:
        grades = grade_quantiles(held_out, potential, student.active_set)
        metrics['held_out'] = {
            **prediction_errors(held_out, potential, baseline), 'n_frames': len(held_out), 'gamma_quantiles': grades
        }  # fmt: skip
    return metrics


def _describe_source(student: Student, source: Source) -> dict[str, Any]:
    assert student.active_set is not None and student.baseline is not None
    frames = source.frames.select(source.learnt_rows())
    return {
        **prediction_errors(frames, student.potential, student.baseline),
        'n_frames': len(frames),
        'n_atoms_too_close': source.n_too_close,
        'theory': theory_of(frames),
        'factor': source.factor,
        'zero_shift_eV': dict(source.shift),
        'gamma_quantiles': grade_quantiles(frames, student.potential, student.active_set),
    }
