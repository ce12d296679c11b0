"""``aiida-pyacemaker setup``: profile, computer, codes, pseudopotentials; safe to run again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from .machine import PROGRAMS, Finding, ensure_code, ensure_computer, ensure_profile
from .pseudos import collect_headers, ensure_family, ensure_sssp
from .services import POSTGRES, RABBITMQ

COLOURS = {'there': 'green', 'made': 'cyan', 'missing': 'yellow', 'refused': 'red'}
PROGRAM_LABELS = [program.label for program in PROGRAMS]


def set_up_machine(
    profile: str | None = None,
    *,
    executables: Iterable[tuple[str, str]] = (),
    pseudos: Iterable[Path] = (),
    family: str | None = None,
    cutoffs: tuple[float, float] | None = None,
    functional: str | None = None,
) -> list[Finding]:
    """Set up everything but the SSSP download; return what was found or made. The profile stays loaded."""
    given = dict(executables)
    findings = [ensure_profile(profile)]
    computer, finding = ensure_computer()
    findings.append(finding)
    findings += [ensure_code(program, computer, given.get(program.label)) for program in PROGRAMS]
    paths = list(pseudos)
    if paths:
        try:
            findings.append(ensure_family(collect_headers(paths, functional), family, cutoffs))
        except (ValueError, OSError) as error:
            findings.append(Finding(what='pseudopotentials', state='refused', detail=str(error)))
    return findings


def existing_families() -> Finding:
    """Say which pseudopotential families the profile holds."""
    from aiida import orm

    query = orm.QueryBuilder().append(orm.Group, filters={'type_string': {'like': 'pseudo.family%'}}, project='label')
    labels = sorted(query.all(flat=True))
    if labels:
        return Finding(what='pseudopotentials', state='there', detail=', '.join(labels))
    remedy = '--sssp efficiency (network), or --pseudos DIR --cutoffs WFC RHO'
    return Finding(what='pseudopotentials', state='missing', detail='no family', remedy=remedy)


def daemon_finding() -> Finding:
    """Say whether the daemon of the loaded profile runs."""
    from aiida.engine.daemon.client import get_daemon_client

    if get_daemon_client().is_daemon_running:
        return Finding(what='daemon', state='there', detail='running')
    return Finding(what='daemon', state='missing', detail='stopped', remedy='verdi daemon start 2')


def print_findings(findings: Iterable[Finding], console: Console | None = None) -> None:
    """Print the table: what is there, what is missing, what to do."""
    table = Table(title='aiida-pyacemaker set-up', title_justify='left', box=box.SIMPLE_HEAD)
    for column in ('', 'state', 'detail', 'to do'):
        table.add_column(column, overflow='fold')
    for finding in findings:
        colour = COLOURS[finding.state]
        table.add_row(finding.what, f'[{colour}]{finding.state}[/]', finding.detail, finding.remedy)
    (console or Console()).print(table)


@click.command('setup')
@click.option('-p', '--profile', help='AiiDA profile: made when new. Default: your default profile, else "pyacemaker".')
@click.option('--sssp', type=click.Choice(['efficiency', 'precision']), help='Download the SSSP 1.3 family for PBE.')
@click.option(
    '--pseudos',
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help='UPF file, or folder of them, for a family; may be given many times.',
)
@click.option('--functional', help='Take only the UPF files of this functional (LDA, PBE, PBESOL, ...).')
@click.option('--family', help='Label of that family. Default: pyacemaker/FUNCTIONAL.')
@click.option('--cutoffs', nargs=2, type=float, help='Its cut-offs for wavefunctions and density, in Ry.')
@click.option(
    '--executable',
    'executables',
    nargs=2,
    multiple=True,
    metavar='LABEL PATH',
    help=f'Take this file for a code, LABEL one of: {", ".join(PROGRAM_LABELS)}.',
)
@click.option('--postgres', metavar='URL', help=f'PostgreSQL of a new profile: {POSTGRES}, PGPASSWORD set.')
@click.option('--rabbitmq', metavar='URL', help=f'RabbitMQ of a new profile: {RABBITMQ}, RABBITMQ_PASSWORD set.')
def setup_command(profile: str | None, sssp: str | None, executables: list[tuple[str, str]], **others: Any) -> None:
    """Make profile, computer, codes and pseudopotentials ready on this machine; safe to run again."""
    from aiida.common.exceptions import StorageMigrationError
    from aiida.manage.configuration import get_profile

    unknown = sorted({label for label, _ in executables} - set(PROGRAM_LABELS))
    if unknown:
        message = f'unknown code {", ".join(unknown)}, allowed: {", ".join(PROGRAM_LABELS)}'
        raise click.BadParameter(message, param_hint='--executable')
    services = {name: others.pop(name) for name in ('postgres', 'rabbitmq')}
    try:
        made = ensure_profile(profile, **services)
    except (ValueError, StorageMigrationError) as error:
        raise click.ClickException(str(error)) from error
    findings = [made, *set_up_machine(profile, executables=executables, **others)[1:]]
    if sssp:
        findings.append(ensure_sssp(sssp, get_profile().name))
    elif not others['pseudos']:
        findings.append(existing_families())
    print_findings([*findings, daemon_finding()])
    if any(finding.state == 'refused' for finding in findings):
        raise SystemExit(1)
