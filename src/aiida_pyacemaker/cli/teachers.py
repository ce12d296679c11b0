"""``aiida-pyacemaker teacher``: which teachers there are, what one is, and one as a node."""

from __future__ import annotations

from typing import Any

import click

from .status import use_profile


def describe(names: tuple[str, ...]) -> tuple[Any, list[str]]:
    """Return the teacher that the names stand for, and what a user should know of it, line by line."""
    from ..science.teacher import find_teacher, licence_notice

    try:
        found = find_teacher(names)
    except (ValueError, ConnectionError) as error:
        raise click.ClickException(str(error)) from error
    teacher, notice = found.teacher, licence_notice(found.licence)
    lines = [
        f'family    {teacher.family}, {teacher.n_members} member{"s" * (teacher.n_members > 1)}, {teacher.dtype}',
        f'elements  {len(teacher.elements)}: {" ".join(teacher.elements)}',
        f'cut-off   {teacher.cutoff:.2f} Å a layer',
        f'licence   {found.licence}',
        f'trains    {"on DFT" if teacher.family == "mace" else "not: it stays as it is, DFT goes into the student"}',
        *(f'file      {member.path}, sha256 {member.sha256[:16]}..., from {member.source}' for member in found.members),
        *(f'needs     {name} {version}' for name, version in teacher.versions().items()),
    ]
    return found, [*lines, *([f'note      {notice}'] if notice else [])]


@click.group('teacher')
def teacher_group() -> None:
    """List teachers, look at one, make one a node."""


@teacher_group.command('list')
def list_command() -> None:
    """Print the names that a teacher can have; a file or an address is one as well."""
    from ..science.teacher import plugin_names
    from ..science.teacher.registry import foundation_addresses, licence_of

    for name in foundation_addresses():
        click.echo(f'{name:24} {licence_of(name)}')
    for name in plugin_names():
        click.echo(f'{name:24} plug-in')


@teacher_group.command('info')
@click.argument('names', nargs=-1, required=True)
def info_command(names: tuple[str, ...]) -> None:
    """Print what a teacher, or a committee of several NAMES, is; fetch it when it is not here."""
    click.echo('\n'.join(describe(names)[1]))


@teacher_group.command('install')
@click.argument('names', nargs=-1, required=True)
@click.option('--licence', help='What the files do not tell: an SPDX name or a sentence.')
@click.option('--profile', '-p', help='AiiDA profile; default: the default one.')
def install_command(names: tuple[str, ...], licence: str | None, profile: str | None) -> None:
    """Store a teacher, or a committee of several NAMES, as a node and print its number."""
    use_profile(profile)
    from ..data.teacher import TeacherModelData

    found, lines = describe(names)
    node = TeacherModelData.from_files(
        found.paths,
        source=found.source,
        licence=licence or found.licence,
        description=found.facts,
        versions=found.teacher.versions(),
    )
    node.label = ' '.join(names)[:255]
    node.store()
    click.echo('\n'.join([*lines, f'stored as node {node.pk}']))
