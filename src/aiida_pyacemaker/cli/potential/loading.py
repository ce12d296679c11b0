"""A potential as a person names it: a folder, a file, or a node."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ase import Atoms

    from ...science.student import Student

PROFILE = click.option('-p', '--profile', help='AiiDA profile of a node, when not the default one.')
AS_JSON = click.option('--json', 'as_json', is_flag=True, help='Print JSON instead of tables.')
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
STRUCTURES = click.argument('structures', nargs=-1, required=True, type=FILE)
SIDE_FILES = (
    click.option('--asi', type=FILE, help='Active set (.asi), for a potential that is a single file.'),
    click.option('--baseline', type=FILE, help='Baseline (baseline.json), for a potential that is a single file.'),
)


def takes_potential(*, side_files: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the argument POTENTIAL and its options to a command, which is called with the loaded student instead."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def loading(
            potential: str, profile: str | None, asi: Path | None = None, baseline: Path | None = None, **rest: Any
        ) -> Any:
            return command(load_potential(potential, asi=asi, baseline=baseline, profile=profile), **rest)

        wrapped: Callable[..., Any] = PROFILE(loading)
        for option in reversed(SIDE_FILES if side_files else ()):
            wrapped = option(wrapped)
        return click.argument('potential')(wrapped)

    return decorate


def load_potential(
    name: str, *, asi: Path | None = None, baseline: Path | None = None, profile: str | None = None
) -> Student:
    """Return the student that ``name`` stands for: a folder of a fit, a .yaml or .yace, or the PK or UUID of a node.

    A folder and a node bring their active set and baseline; a file has those that are given. AiiDA is loaded for a
    node only. Raises ``ClickException`` that says what is wrong with the files.
    """
    from ...science.student import load_student

    try:
        path = Path(name)
        if path.is_dir():
            return _replaced(load_student(path), asi, baseline)
        if path.is_file():
            return _replaced(_from_file(path), asi, baseline)
        with tempfile.TemporaryDirectory() as folder:
            _load_node(name, profile).write_to(folder)
            return _replaced(load_student(folder), asi, baseline)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _from_file(path: Path) -> Student:
    from ...science.ace import AcePotential
    from ...science.student import Student

    return Student(potential=AcePotential.read(path))


def _replaced(student: Student, asi: Path | None, baseline: Path | None) -> Student:
    """Return ``student`` with the active set and baseline that were given; ``ValueError`` when one does not fit."""
    from dataclasses import replace

    from ...science.ace import ActiveSet
    from ...science.baseline import PairBaseline

    if asi is not None:
        student = replace(student, active_set=ActiveSet.read(asi).of(student.potential))
    if baseline is not None:
        student = replace(student, baseline=PairBaseline.from_json(baseline))
    return student


def _load_node(name: str, profile: str | None) -> Any:
    from aiida import load_profile, orm
    from aiida.common.exceptions import AiidaException

    try:
        load_profile(profile)
        node = orm.load_node(name)
    except (AiidaException, ValueError) as error:
        raise click.ClickException(f'{name} is no file or folder, and no node: {error}') from error
    from ...data.ace_potential import AcePotentialData

    if not isinstance(node, AcePotentialData):
        raise click.ClickException(f'{name} is a {type(node).__name__}, expected an AcePotentialData')
    return node


class StructureFiles:
    """The structures of files one after the other, with their labels, read again each time they are gone through."""

    def __init__(self, *paths: Path) -> None:
        self.paths = paths

    def __iter__(self) -> Iterator[Atoms]:
        """Yield one structure at a time; ``ClickException`` names a broken or empty file."""
        from ase.io import iread
        from ase.io.formats import UnknownFileTypeError

        for path in self.paths:
            count = 0
            try:
                for atoms in iread(str(path), index=':'):
                    count += 1
                    yield atoms
            except (OSError, ValueError, LookupError, StopIteration, RuntimeError, UnknownFileTypeError) as error:
                raise click.ClickException(
                    f'{path} cannot be read after {count} structures: {type(error).__name__}: {error}'
                ) from error
            if not count:
                raise click.ClickException(f'{path} holds no structure')
