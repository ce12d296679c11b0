"""``potential convert`` and ``potential active-set``: files made from a potential."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .loading import AS_JSON, STRUCTURES, StructureFiles, takes_potential
from .output import print_json, print_table

if TYPE_CHECKING:
    from ase import Atoms

    from ...science.ace import AcePotential, ActiveSet
    from ...science.student import Student

OUTPUT = click.option(
    '-o', '--output', type=click.Path(dir_okay=False, path_type=Path), required=True, help='File to write.'
)


@click.command('convert')
@takes_potential(side_files=False)
@OUTPUT
@AS_JSON
def convert_command(student: Student, output: Path, as_json: bool) -> None:
    """Write POTENTIAL as B-basis .yaml or C-tilde .yace, by the suffix of the output, and read it back to compare."""
    from ...science.ace import AcePotential

    known = student.potential
    if output.suffix not in ('.yaml', '.yace'):
        raise click.BadParameter(f'{output} has suffix {output.suffix!r}, expected .yaml or .yace', param_hint='output')
    try:
        (known.write_yaml if output.suffix == '.yaml' else known.write_yace)(output)
        difference = largest_difference(known, AcePotential.read(output))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({'output': str(output), **difference})
    else:
        click.echo(
            f'wrote {output}; read back, energies of rattled structures differ by {difference["energy_eV"]:.1e} eV, '
            f'forces by {difference["forces_eV_per_A"]:.1e} eV/Å'
        )


def largest_difference(first: AcePotential, second: AcePotential) -> dict[str, float]:
    """Return the largest differences of atomic energies (eV) and forces (eV/Å) on some rattled structures."""
    import numpy as np

    from ...science.ace import evaluate
    from ...science.laws.examples import default_structures

    energy = forces = 0.0
    for atoms in default_structures(first.elements, np.random.default_rng(0)):
        mine, other = evaluate(first, atoms), evaluate(second, atoms)
        energy = max(energy, float(np.abs(mine.energies - other.energies).max()))
        forces = max(forces, float(np.abs(mine.forces - other.forces).max()))
    return {'energy_eV': energy, 'forces_eV_per_A': forces}


@click.command('active-set')
@takes_potential(side_files=False)
@STRUCTURES
@OUTPUT
@click.option('--complete', is_flag=True, help='Allow fewer independent environments than functions.')
@click.option('--threshold', default=5.0, show_default=True, help='γ above which atoms are counted afterwards.')
@AS_JSON
def active_set_command(
    student: Student, structures: tuple[Path, ...], output: Path, complete: bool, threshold: float, as_json: bool
) -> None:
    """Build the active set (.asi) of POTENTIAL from the atoms of STRUCTURES with force_weight > 0 (1 where missing)."""
    from ...science.ace.active_set import active_set_from

    ace = student.potential
    try:
        built = active_set_from(ace, StructureFiles(*structures), complete=complete)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    built.write(output)
    found = {element: seen._asdict() for element, seen in built.coverage.items()}
    grades = {'largest_gamma': 0.0, 'n_atoms': 0, 'n_above': 0}
    for gamma in trained_grades(ace, built, StructureFiles(*structures)):
        grades['largest_gamma'] = max(grades['largest_gamma'], float(gamma.max(initial=0.0)))
        grades['n_atoms'] += len(gamma)
        grades['n_above'] += int((~(gamma <= threshold)).sum())
    if as_json:
        print_json({'output': str(output), 'coverage': found, 'trained': {'threshold': threshold, **grades}})
        return
    head = ('element', 'functions', 'active environments', 'never populated')
    print_table(f'active set, written to {output}', head, [(element, *row.values()) for element, row in found.items()])
    click.echo(
        f'trained atoms: {grades["n_atoms"]}, largest γ {grades["largest_gamma"]:.4g}, '
        f'{grades["n_above"]} above {threshold:g}'
    )


def trained_grades(potential: AcePotential, active_set: ActiveSet, structures: Iterable[Atoms]) -> Iterator[Any]:
    """Yield γ of the atoms with weight > 0, one array a structure."""
    import numpy as np

    from ...science.ace import evaluate

    for atoms in structures:
        found = evaluate(potential, atoms, active_set=active_set).gamma
        assert found is not None
        yield found[atoms.arrays.get('force_weight', np.ones(len(atoms))) > 0]
