"""``potential evaluate`` and ``potential compare``: numbers on structures, one structure in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .loading import AS_JSON, FILE, PROFILE, STRUCTURES, StructureFiles, load_potential, takes_potential
from .output import print_json, print_table

if TYPE_CHECKING:
    from ase import Atoms

    from ...science.student import Student

THRESHOLDS = {'above_add': 2.0, 'above_call': 5.0, 'above_danger': 10.0}


class RunningErrors:
    """Sums of squares and largest values of differences that arrive in pieces, by name."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[int, float, float]] = {}

    def add(self, name: str, differences: Any) -> None:
        """Add an array of differences."""
        import numpy as np

        values = np.abs(np.asarray(differences, dtype=float)).ravel()
        count, square, largest = self.sums.get(name, (0, 0.0, 0.0))
        worst = float(np.max(values, initial=largest))
        self.sums[name] = count + len(values), square + float(values @ values), worst

    def report(self) -> dict[str, dict[str, float | int]]:
        """Return name -> n, rms, largest."""
        return {
            name: {'n': count, 'rms': (square / count) ** 0.5, 'largest': largest}
            for name, (count, square, largest) in self.sums.items()
            if count
        }


@click.command('evaluate')
@takes_potential()
@STRUCTURES
@click.option('-o', '--output', type=click.Path(dir_okay=False, path_type=Path), help='Extended XYZ to write.')
@AS_JSON
def evaluate_command(student: Student, structures: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Evaluate POTENTIAL on STRUCTURES: energy, forces, stress, γ; errors where the files hold labels."""
    if output is not None and any(path.samefile(output) for path in structures if output.exists()):
        raise click.BadParameter(f'{output} is among the structures, expected another file', param_hint='output')
    errors, totals = RunningErrors(), _no_totals()
    with ExitStack() as stack:
        handle = stack.enter_context(output.open('w', encoding='utf-8')) if output else None
        for number, (atoms, found) in enumerate(evaluated(student, StructureFiles(*structures))):
            _count(totals, errors, atoms, found)
            if handle is not None:
                write_frame(handle, atoms, found)
            totals['n_frames'] = number + 1
    if not student.active_set:
        totals = {name: value for name, value in totals.items() if name.startswith('n_')}
    if as_json:
        print_json({**totals, 'errors': errors.report(), 'output': None if output is None else str(output)})
        return
    print_table('evaluated', ('what', 'value'), list(totals.items()))
    rows = [(name, *row.values()) for name, row in errors.report().items()]
    if rows:
        print_table('against the labels in the files', ('what', 'n', 'rms', 'largest'), rows)
    if output is not None:
        click.echo(f'wrote {output}')


def _no_totals() -> dict[str, Any]:
    return {'n_frames': 0, 'n_atoms': 0, 'largest_gamma': 0.0, **dict.fromkeys(THRESHOLDS, 0)}


def evaluated(student: Student, structures: Iterable[Atoms]) -> Iterator[tuple[Atoms, dict[str, Any]]]:
    """Yield each structure with the results for it; ``ClickException`` names one that cannot be evaluated."""
    calculator = student.calculator()
    for number, atoms in enumerate(structures):
        bare = atoms.copy()
        try:
            calculator.calculate(bare, ['energy', 'forces', 'stress'])
        except ValueError as error:
            raise click.ClickException(f'structure {number} ({atoms.get_chemical_formula()}): {error}') from error
        yield atoms, dict(calculator.results)


def _count(totals: dict[str, Any], errors: RunningErrors, atoms: Atoms, found: dict[str, Any]) -> None:
    import numpy as np

    totals['n_atoms'] += len(atoms)
    if 'gamma' in found:
        totals['largest_gamma'] = max(totals['largest_gamma'], float(np.max(found['gamma'], initial=0.0)))
        for name, threshold in THRESHOLDS.items():
            totals[name] += int(np.count_nonzero(~(found['gamma'] <= threshold)))
    labels = atoms.calc.results if atoms.calc else {}
    energy = labels.get('free_energy', labels.get('energy'))
    if energy is not None:
        errors.add('energy (eV/atom)', (found['energy'] - energy) / len(atoms))
    if 'forces' in labels:
        counts = atoms.arrays.get('force_weight', np.ones(len(atoms))) > 0
        errors.add('forces (eV/Å)', (found['forces'] - labels['forces'])[counts])
    if 'stress' in labels and 'stress' in found:
        errors.add('stress (eV/Å³)', found['stress'] - labels['stress'])


def write_frame(handle: Any, atoms: Atoms, found: dict[str, Any]) -> None:
    """Write one structure with the results as extended XYZ: nothing of other structures is kept."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.extxyz import write_extxyz

    written = atoms.copy()
    if 'gamma' in found:
        written.set_array('gamma', found['gamma'])
    values = {name: found[name] for name in ('energy', 'free_energy', 'forces', 'stress') if name in found}
    written.calc = SinglePointCalculator(written, **values)
    write_extxyz(handle, [written])


@click.command('compare')
@click.argument('first')
@click.argument('second')
@click.argument('structures', nargs=-1, type=FILE)
@PROFILE
@AS_JSON
def compare_command(first: str, second: str, structures: tuple[Path, ...], profile: str | None, as_json: bool) -> None:
    """Compare potentials FIRST and SECOND on STRUCTURES, or on rattled structures of their common elements."""
    import numpy as np

    from ...science.laws.examples import default_structures

    students = [load_potential(name, profile=profile) for name in (first, second)]
    common = [element for element in students[0].potential.elements if element in students[1].potential.elements]
    if not common:
        raise click.ClickException('the potentials have no element in common')
    errors = RunningErrors()
    given = StructureFiles(*structures) if structures else default_structures(common, np.random.default_rng(0))
    for atoms, mine in evaluated(students[0], given):
        (_, other), *_ = evaluated(students[1], iter([atoms]))
        errors.add('energy (eV/atom)', (mine['energy'] - other['energy']) / len(atoms))
        for name, unit in (('forces', 'eV/Å'), ('stress', 'eV/Å³')):
            if name in mine and name in other:
                errors.add(f'{name} ({unit})', mine[name] - other[name])
        if 'gamma' in mine and 'gamma' in other:
            errors.add('ln γ', np.log(np.maximum(mine['gamma'], 1e-12) / np.maximum(other['gamma'], 1e-12)))
    same = {
        'same basis': students[0].potential.digest == students[1].potential.digest,
        'same baseline': _baseline(students[0]) == _baseline(students[1]),
        'elements': [list(student.potential.elements) for student in students],
        'functions': [int(sum(student.potential.n_functions)) for student in students],
        'cut-offs (Å)': [float(student.potential.cutoff) for student in students],
    }
    if as_json:
        print_json({**same, 'differences': errors.report()})
        return
    print_table('potentials', ('what', 'value'), list(same.items()))
    rows = [(name, *row.values()) for name, row in errors.report().items()]
    print_table('differences', ('what', 'n', 'rms', 'largest'), rows)


def _baseline(student: Student) -> str:
    return 'none' if student.baseline is None else student.baseline.digest
