"""Fit the student: new datasets become blocks, blocks are solved together, and the potential is written for LAMMPS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ..science.ace import AcePotential, build_potential
from ..science.ace.active_set import TooFewEnvironments
from ..science.ace.blocks import Assembly, FitBlock, make_fit_block
from ..science.ace.calibration import batch_coverage, calibration_report, graded_errors
from ..science.ace.fit import FitResult, Ridge, fit_reference_energies, solve_blocks
from ..science.ace.quality import (
    frame_errors,
    nearest_distances,
    prediction_errors,
    robust_factors,
    short_range_report,
    trained_grades,
)
from ..science.ace.weights import RowFactors, RowWeights, labelled_kinds
from ..science.baseline import PairBaseline, dimer_curves, fit_baseline
from ..science.config import ActiveLearningThresholds, FitConfig
from ..science.frames import Frames
from ..science.learning_curve import judge_curve, nested_subsets
from ..science.pools import systems_of
from ..science.student import Student, choose_canary, load_student, read_canary, sharper_canary, write_canary
from .base import Progress, Task, TaskFailure
from .inputs import check_elements, read_frames


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Basis with the first reference energies, and baseline: what blocks are made with."""

    potential: AcePotential
    baseline: PairBaseline


class AceFitTask(Task):
    """Inputs of a fit.

    datasets: name -> frames to learn (each becomes a block); blocks: name -> block of an earlier fit; potential: folder
    of that fit, whose basis, baseline and reference energies stay frozen; factors: name -> weight of a source (1;
    ``weight_dft`` and the mean weight of their forces multiply sources of DFT labels; 0 forgets); own_zero: sources
    whose energies count up to a constant an element, as another teacher's or theory's do; dimers: labelled two-atom
    frames for the baseline; held_out: labelled frames that are only tested; learning_curve: parts of the datasets that
    are fitted as well, to say whether more would help (needs ``held_out``); worth_gain: the fall of the error by twice
    as many frames that is worth them; thresholds: trained atoms above call are reported, and how new labels fared under
    it before they were learnt; seed draws those parts.
    """

    elements: tuple[str, ...] = Field(min_length=1)
    datasets: dict[str, str] = {}
    blocks: dict[str, str] = {}
    potential: str | None = None
    fit: FitConfig = FitConfig()
    baseline: Literal['LJ', 'ZBL'] = 'LJ'
    factors: dict[str, float] = {}
    own_zero: tuple[str, ...] = ()
    dimers: str | None = None
    held_out: str | None = None
    learning_curve: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    worth_gain: float = Field(0.1, gt=0, lt=1)
    thresholds: ActiveLearningThresholds = ActiveLearningThresholds()
    seed: int = 0

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write potential, active set, baseline and new blocks; return the metrics."""
        with threadpool_limits(limits=1):  # thousands of small products: threads made them 70 times slower on two cores
            return self._fit(progress)

    def _fit(self, progress: Progress) -> dict[str, Any]:
        sources, held_out = self._read_sources(), self._read_held_out()
        history = self._read_history()
        try:
            start = self._frozen(list(sources.values()))
            new = self._make_blocks(sources, history, start, progress)
            fitted = self._solve([*history, *new], start.potential, progress)
        except TooFewEnvironments as error:
            raise TaskFailure('TOO_FEW_ENVIRONMENTS', str(error)) from error
        except ValueError as error:
            raise TaskFailure('INVALID_INPUT', str(error)) from error
        for block in new:
            block.save(f'block_{block.name}.npz')
        baseline = start.baseline
        write_student(fitted, baseline)
        self._write_canary(fitted, baseline, [*sources.values(), *([] if held_out is None else [held_out])])
        metrics = self._metrics(fitted, baseline, sources, progress)
        if held_out is not None:
            found = frame_errors(held_out, fitted.potential, baseline)
            errors = found.summary()
            grades = trained_grades(held_out, fitted.potential, fitted.active_set).quantiles()
            student = Student(potential=fitted.potential, active_set=fitted.active_set, baseline=baseline)
            calibration = calibration_report(graded_errors(held_out, student), level=self.thresholds.coverage)
            sizes = {'n_frames': len(held_out), 'gamma_quantiles': grades, 'gamma_calibration': calibration}
            generators, systems = held_out.config_type.tolist(), systems_of(held_out)
            parts = {'by_generator': found.by(generators), 'by_subsystem': found.by(systems)}
            metrics['held_out'] = {**errors, **sizes, **parts}
            if self.learning_curve and sources:
                metrics['learning_curve'] = self._learning_curve(sources, held_out, start, errors, progress)
            progress.report('held out', 1, 1, **errors)
        return metrics

    def _read_sources(self) -> dict[str, Frames]:
        sources = {name: read_frames(path) for name, path in self.datasets.items()}
        for name, frames in sources.items():
            check_elements(frames, self.elements, f'dataset {name!r}')
        if self.fit.flagged_labels == 'leave_out':
            sources = {name: frames.without_flagged() for name, frames in sources.items()}
        shared = sorted(set(sources) & set(self.blocks))
        if shared:
            raise TaskFailure('INVALID_INPUT', f'{shared} are names of both datasets and blocks: a source counts once')
        if not sources and not self.blocks:
            raise TaskFailure('NOTHING_LEFT', 'neither datasets nor blocks are given, expected at least one source')
        if self.blocks and self.potential is None:
            raise TaskFailure('INVALID_INPUT', 'blocks need the potential they were made with: give its folder')
        return sources

    def _read_held_out(self) -> Frames | None:
        """Return the frames that are only tested, found fit for it before the long work begins."""
        if self.held_out is None:
            return None
        held_out = read_frames(self.held_out)
        check_elements(held_out, self.elements, 'held_out')
        try:
            for row in range(len(held_out)):
                labelled_kinds(held_out, row)
        except ValueError as error:
            raise TaskFailure('INVALID_INPUT', f'held_out: {error}') from error
        return held_out

    def _read_history(self) -> list[FitBlock]:
        try:
            blocks = {name: FitBlock.load(path) for name, path in self.blocks.items()}
        except ValueError as error:
            raise TaskFailure('UNREADABLE_FILE', str(error)) from error
        weights = RowWeights.from_config(self.fit)
        for block in blocks.values():
            if block.weights != weights:
                raise TaskFailure(
                    'INVALID_INPUT',
                    f'block {block.name!r} was made with {block.weights}, the settings say {weights}: weights within a '
                    'source are frozen in its rows; keep them (only `factors` of whole sources change later), or make '
                    'all blocks again from their frames (a fit without `blocks`)',
                )
        differing = {name: block.name for name, block in blocks.items() if name != block.name}
        if differing:
            raise TaskFailure('INVALID_INPUT', f'blocks are given under other names than their own: {differing}')
        return list(blocks.values())

    def _frozen(self, sources: list[Frames]) -> _Start:
        """Return basis with first reference energies, and baseline: those of the folder, or new ones."""
        if self.potential is not None:
            folder = Path(self.potential)
            try:
                potential = AcePotential.read(folder / 'potential.yaml')
                baseline = PairBaseline.from_json(folder / 'baseline.json')
            except (OSError, ValueError) as error:
                raise TaskFailure('UNREADABLE_FILE', f'{folder}: {error}') from error
            if set(potential.elements) != set(self.elements):
                found, wanted = ', '.join(potential.elements), ', '.join(self.elements)
                raise TaskFailure('UNKNOWN_ELEMENT', f'the frozen potential has {found}, expected {wanted}')
            return _Start(potential=potential, baseline=baseline)
        curves = dimer_curves(read_frames(self.dimers)) if self.dimers is not None else None
        baseline = fit_baseline(self.elements, self.baseline, curves)
        distances = np.concatenate([nearest_distances(frames) for frames in sources])
        bond_length = float(np.median(distances)) if len(distances) else None
        potential = build_potential(self.elements, self.fit, bond_length=bond_length)
        first_guess = fit_reference_energies(sources, potential.elements, baseline)
        return _Start(potential=potential.with_reference_energies(first_guess), baseline=baseline)

    def _make_block(
        self, name: str, frames: Frames, start: _Start, progress: Progress, factors: RowFactors | None = None
    ) -> FitBlock:
        stage, total = f'rows of {name}' if factors is None else f'rows of {name} re-weighted', len(frames)

        def report(done: int) -> None:
            if done == total or done % max(1, total // 50) == 0:
                progress.report(stage, done, total)

        return make_fit_block(
            frames,
            start.potential,
            name=name,
            baseline=start.baseline,
            weights=RowWeights.from_config(self.fit),
            assembly=Assembly(
                on_frame=report,
                factors=factors,
                n_folds=self.fit.n_folds if self.fit.ridge == 'cross-validation' else 0,
                n_threads=usable_cores(),
            ),
        )

    def _make_blocks(
        self, sources: dict[str, Frames], history: list[FitBlock], start: _Start, progress: Progress
    ) -> list[FitBlock]:
        """Return a block of each source; with ``robust_threshold`` rows that a first fit misses count less."""
        new = [self._make_block(name, frames, start, progress) for name, frames in sources.items()]
        threshold = self.fit.robust_threshold
        if threshold is None or not new:
            return new
        first = self._solve([*history, *new], start.potential, progress).potential
        factors = {
            name: robust_factors(frames, first, start.baseline, threshold=threshold) for name, frames in sources.items()
        }
        return [self._make_block(name, frames, start, progress, factors[name]) for name, frames in sources.items()]

    def _solve(self, blocks: list[FitBlock], potential: AcePotential, progress: Progress) -> FitResult:
        progress.report('solve', 0, 1)
        theory = {
            block.name: self.fit.weight_dft * block.mean_force_weight if block.theory == 'dft' else 1.0
            for block in blocks
        }
        fitted = solve_blocks(
            blocks,
            potential,
            factors={name: self.factors.get(name, 1.0) * weight for name, weight in theory.items()},
            ridge=Ridge.from_config(self.fit),
            own_zero=None if self.potential is None else self.own_zero,
            complete=self.fit.complete_active_set,
        )
        progress.report('solve', 1, 1, ridge=fitted.ridge, sources=fitted.metrics['sources'])
        return fitted

    def _learning_curve(
        self,
        sources: dict[str, Frames],
        held_out: Frames,
        start: _Start,
        errors: dict[str, float | None],
        progress: Progress,
    ) -> dict[str, Any]:
        """Fit parts of the datasets too; return force errors (energies without forces) by size, and what they promise.

        A part that does not span the basis is left out.
        """
        key = 'rmse_forces_eV_per_A' if errors['rmse_forces_eV_per_A'] is not None else 'rmse_energy_eV_per_atom'
        points: dict[int, float] = {}
        subsets = {name: nested_subsets(part, self.learning_curve, self.seed) for name, part in sources.items()}
        for turn in range(len(self.learning_curve)):
            chosen = {name: part.select(subsets[name][turn]) for name, part in sources.items()}
            try:
                blocks = [self._make_block(name, part, start, progress) for name, part in chosen.items()]
                fitted = self._solve(blocks, start.potential, progress)
            except (TooFewEnvironments, ValueError):
                continue
            found = prediction_errors(held_out, fitted.potential, start.baseline)
            points[sum(map(len, chosen.values()))] = found[key] or np.nan
        points[sum(map(len, sources.values()))] = errors[key] or np.nan
        points = {size: error for size, error in sorted(points.items()) if np.isfinite(error)}
        if len(points) < 2:
            return {'quantity': key, 'n_frames': list(points), 'errors': list(points.values()), 'worth_more': None}
        return {'quantity': key, **judge_curve(list(points), list(points.values()), worth_gain=self.worth_gain)}

    def _write_canary(self, fitted: FitResult, baseline: PairBaseline, known: list[Frames]) -> None:
        """Write the frame by which others see that they evaluate this student: a new one, else that of the last fit."""
        frames = choose_canary((atoms for part in known for atoms in part.iter_atoms()), self.elements)
        old = None if self.potential is None else read_canary(self.potential)
        student = Student(potential=fitted.potential, active_set=fitted.active_set, baseline=baseline)
        if frames is not None:
            write_canary('.', student, sharper_canary(student, frames))
        elif old is not None:
            write_canary('.', student, old.atoms)

    def _metrics(
        self, fitted: FitResult, baseline: PairBaseline, sources: dict[str, Frames], progress: Progress
    ) -> dict[str, Any]:
        metrics: dict[str, Any] = {
            **fitted.metrics,
            'elements': list(fitted.potential.elements),
            'cutoff': fitted.potential.cutoff,
            'reference_energies': fitted.potential.reference_energies,
            'baseline': {key: {'form': term.form, 'note': term.note} for key, term in baseline.pairs.items()},
            'short_range': short_range_report(fitted.potential, baseline),
            'active_set': {element: seen._asdict() for element, seen in fitted.active_set.coverage.items()},
            'seed': self.seed,
        }
        for name, frames in sources.items():
            if name in metrics['sources']:
                grades = trained_grades(frames, fitted.potential, fitted.active_set)
                above = grades.above(self.thresholds.call_on_gamma)
                metrics['sources'][name] |= self._before_learning(frames)
                metrics['sources'][name] |= {'gamma_quantiles': grades.quantiles(), 'trained_atoms_above_call': above}
                progress.report(f'grades of {name}', 1, 1, **grades.quantiles(), n_above_call=above['n_atoms'])
        return metrics

    def _before_learning(self, frames: Frames) -> dict[str, Any]:
        """Return how these labels fared under the potential that did not know them, where there is one with grades."""
        old = None if self.potential is None else load_student(self.potential)
        if old is None or old.active_set is None:
            return {}
        return {'before_learning': batch_coverage(graded_errors(frames, old), self.thresholds)}


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def write_student(fitted: FitResult, baseline: PairBaseline) -> None:
    """Write the five files of a potential into the current folder."""
    fitted.potential.write_yaml('potential.yaml')
    fitted.potential.write_yace('potential.yace')
    fitted.active_set.write('potential.asi')
    Path('baseline.json').write_text(baseline.to_json())
    baseline.write_lammps_table('baseline.table')


TASK = AceFitTask
