"""``potential plot``: curves of a potential, histograms of γ, calibration of γ on labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .loading import FILE, StructureFiles, takes_potential

if TYPE_CHECKING:
    from ase import Atoms

    from ...science.student import Student

OPENING_A = 6.0
STRETCH = 1.05  # bond lengths of trimers, over the sum of covalent radii


@click.command('plot')
@takes_potential()
@click.argument('structures', nargs=-1, type=FILE)
@click.option('-o', '--output', type=click.Path(file_okay=False, path_type=Path), required=True, help='Folder.')
@click.option('--crystal', type=FILE, help='Bulk to pull apart along c.')
@click.option('--error', default=0.1, show_default=True, help='Force error (eV/Å) that the threshold on γ is read at.')
def plot_command(
    student: Student, structures: tuple[Path, ...], output: Path, crystal: Path | None, error: float
) -> None:
    """Draw pair, trimer and decohesion curves of POTENTIAL, and what γ says about STRUCTURES.

    Each file of STRUCTURES is a batch, in the order given: where they hold forces, γ is calibrated on all of them, and
    each batch is judged by what the batches before it had taught.
    """
    output.mkdir(parents=True, exist_ok=True)
    bulk_structure = next(iter(StructureFiles(crystal)), None) if crystal else default_crystal(student)
    try:
        drawn = draw_curves(student, bulk_structure, output)
        if structures and student.active_set is not None:
            drawn += draw_grades(student, structures, error, output)
        elif structures:
            raise click.ClickException('the potential has no active set: give --asi, γ is what would be drawn')
    except ValueError as problem:
        raise click.ClickException(str(problem)) from problem
    for path in drawn:
        click.echo(f'wrote {path}')


def default_crystal(student: Student) -> Atoms | None:
    """Return the reference crystal of a potential of one element with a cubic one, else nothing."""
    from ase.build import bulk

    elements = student.potential.elements
    try:
        return bulk(elements[0], cubic=True) if len(elements) == 1 else None
    except (ValueError, RuntimeError, KeyError, TypeError):
        return None


def draw_curves(student: Student, crystal: Atoms | None, folder: Path) -> list[Path]:
    """Draw pairs, trimers and, where there is a crystal, its pulling apart; return the files."""
    import numpy as np

    from ...report import potential_figures as figures
    from ...science.curves import decohesion_curve, pair_curve, pairs_of, trimer_curve
    from ...science.laws.examples import bond_length

    calculator, elements, cutoff = student.calculator(with_gamma=False), student.potential.elements, _reach(student)
    pairs = [
        pair_curve(calculator, *pair, np.linspace(0.5 * bond_length(*pair), cutoff + 0.2, 250))
        for pair in pairs_of(elements)
    ]
    trimers = [
        trimer_curve(calculator, (end, centre, end), STRETCH * bond_length(end, centre), np.linspace(45.0, 180.0, 136))
        for centre in elements
        for end in elements
    ]
    drawn = [
        save(folder / 'pairs.png', lambda ax: figures.draw_pair_curves(ax, pairs)),
        save(folder / 'trimers.png', lambda ax: figures.draw_trimer_curves(ax, trimers)),
    ]
    if crystal is not None:
        curve = decohesion_curve(calculator, crystal, np.linspace(0.0, OPENING_A, 61), cutoff=cutoff)
        drawn.append(save(folder / 'decohesion.png', lambda ax: figures.draw_decohesion(ax, curve)))
    return drawn


def _reach(student: Student) -> float:
    return max(student.potential.cutoff, student.baseline.cutoff if student.baseline else 0.0)


def draw_grades(student: Student, structures: tuple[Path, ...], error: float, folder: Path) -> list[Path]:
    """Draw the histogram of γ and, where the files hold forces, calibration and coverage; return the files."""
    from ...report import potential_figures as figures
    from ...science.ace.calibration import GradedErrors, calibrate_gamma, judge_in_order
    from ...science.config import ActiveLearningThresholds

    thresholds = ActiveLearningThresholds().model_dump()
    graded = {path.stem: grades_and_errors(student, path) for path in structures}
    histogram = {name: gamma for name, (gamma, _) in graded.items()}
    drawn = [
        save(
            folder / 'gamma.png',
            lambda ax: figures.draw_gamma_histogram(ax, histogram, thresholds=thresholds),
        )
    ]
    batches = {name: errors for name, (_, errors) in graded.items() if len(errors.errors)}
    known = GradedErrors.join(list(batches.values()))
    if not len(known.errors):
        return drawn
    calibration = calibrate_gamma(known)
    click.echo(
        f'{100 * calibration.level:g} % of the labelled forces are within {error:g} eV/Å up to '
        f'γ = {calibration.threshold(error):.3g} (empirical, no guarantee)'
    )
    drawn.append(save(folder / 'calibration.png', lambda ax: figures.draw_calibration(ax, calibration, known)))
    if len(batches) > 1:
        judged = judge_in_order(list(batches.values()), error_eV_per_A=error)
        drawn.append(save(folder / 'coverage.png', lambda ax: figures.draw_coverage(ax, judged, list(batches))))
    return drawn


def grades_and_errors(student: Student, path: Path) -> tuple[Any, Any]:
    """Return γ of all atoms of a file, and γ with force errors of those that carry a force label of weight > 0."""
    import numpy as np

    from ...science.ace.calibration import GradedErrors
    from .evaluate import evaluated

    everything, gamma, errors = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for atoms, found in evaluated(student, StructureFiles(path)):
        everything.append(found['gamma'])
        labels = atoms.calc.results if atoms.calc else {}
        if 'forces' in labels:
            counts = atoms.arrays.get('force_weight', np.ones(len(atoms))) > 0
            gamma.append(found['gamma'][counts])
            errors.append(np.linalg.norm(found['forces'] - labels['forces'], axis=1)[counts])
    known = GradedErrors(gamma=np.concatenate(gamma), errors=np.concatenate(errors))
    return np.concatenate(everything), known


def save(path: Path, draw: Callable[[Any], None]) -> Path:
    """Draw one figure and write it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout='constrained')
    draw(figure.add_subplot())
    figure.savefig(path, dpi=150)
    return path
