"""``aiida-pyacemaker distil Fe Pt``: from a teacher and a list of elements to a potential, in one command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


@click.command('distil')
@click.argument('elements', nargs=-1)
@click.option('-t', '--teacher', 'teachers', multiple=True, metavar='NAME|FILE',
              help='Foundation model or file; several are a committee. Default: medium-mpa-0.')  # fmt: skip
@click.option('-s', '--structure', 'structures', multiple=True, type=click.Path(exists=True, dir_okay=False),
              help='CIF or other file of crystals or molecules to start from. May be given many times.')  # fmt: skip
@click.option('--settings', type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help='YAML file with the settings `distillation` and `fit` over those of the protocol.')  # fmt: skip
@click.option('--protocol', default='balanced', show_default=True, help='`fast` or `balanced`.')
@click.option('--seed', default=1, show_default=True, help='Root of every random choice.')
@click.option('-p', '--profile', help='AiiDA profile, when not the default one.')
@click.option('-o', '--output', type=click.Path(file_okay=False, path_type=Path), help='Folder. Default: distilled-PK.')
@click.option('--submit', 'only_submit', is_flag=True, help='Hand it to the daemon and leave.')
def distil_command(elements: tuple[str, ...], output: Path | None, only_submit: bool, **choices: Any) -> None:
    """Distil a teacher into an ACE potential of ELEMENTS (default: those of the structures).

    Runs in the daemon where one runs, which is followed, else in this process. Leaves base.yace, the files and the
    script to run it, and report.html in a folder.
    """
    from aiida.engine import run_get_node, submit

    from ..report.distillation import write_distillation_report
    from .setup import daemon_finding
    from .status import follow, use_profile

    use_profile(choices.pop('profile'))
    try:
        builder = make_distillation(elements, **choices)
    except (ValueError, ConnectionError, ImportError) as error:
        raise click.ClickException(str(error)) from error
    in_daemon = daemon_finding().state == 'there'
    if only_submit and not in_daemon:
        raise click.ClickException('the daemon is stopped: verdi daemon start 2, or leave --submit out')
    node = submit(builder) if in_daemon else run_get_node(builder)[1]
    click.echo(f'{node.process_label}<{node.pk}>')
    if only_submit:
        click.echo(f'watch it:  aiida-pyacemaker status {node.pk}\nreport:    aiida-pyacemaker report {node.pk}')
        return
    if in_daemon:
        follow(node.pk)
    if not node.is_finished_ok:
        raise click.ClickException(f'ended as {node.process_state.value}: {node.exit_message}')
    folder = output or Path(f'distilled-{node.pk}')
    echo_report(write_distillation_report(node.pk, folder))
    click.echo(f'wrote {folder}/base.yace and {folder}/report.html')


def echo_report(report: dict[str, Any]) -> None:
    """Print what phase 1 made and how well the student does."""
    from ..report.distillation import describe_parts, describe_run

    for line in (describe_run(report), *describe_parts(report)):
        click.echo(line)


def make_distillation(
    elements: Sequence[str],
    *,
    teachers: Sequence[str],
    structures: Sequence[str],
    settings: Path | None,
    protocol: str,
    seed: int,
) -> Any:
    """Return the filled builder of ``pyacemaker.distillation``; raise ``ValueError`` naming what is wrong."""
    import yaml
    from aiida import orm
    from aiida.common.exceptions import NotExistent
    from aiida.plugins import WorkflowFactory

    if not elements and not structures:
        raise ValueError('neither elements nor structures are named: give one of them')
    try:
        code = orm.load_code('pyacemaker-task@localhost')
    except NotExistent as error:
        raise ValueError('no code pyacemaker-task@localhost in this profile: aiida-pyacemaker setup') from error
    given: dict[str, Any] = {'teacher': list(teachers)} if teachers else {}
    if elements:
        given['elements'] = list(elements)
    if structures:
        given['structures'] = list(structures)
    return WorkflowFactory('pyacemaker.distillation').get_builder_from_protocol(
        code,
        protocol=protocol,
        overrides=yaml.safe_load(settings.read_text()) if settings else None,
        seed=orm.Int(seed),
        **given,
    )
