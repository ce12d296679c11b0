"""``aiida-pyacemaker report PK``: figures, one page, the numbers."""

from __future__ import annotations

from pathlib import Path

import click


@click.command('report')
@click.argument('process')
@click.option('-p', '--profile', help='AiiDA profile, when not the default one.')
@click.option('-o', '--output', type=click.Path(file_okay=False, path_type=Path), help='Folder. Default: report-PK.')
def report_command(process: str, profile: str | None, output: Path | None) -> None:
    """Write report.html, its figures, summary.json and the potential of PROCESS (PK or UUID)."""
    from aiida import orm

    from ..report.distillation import write_distillation_report
    from ..report.page import write_report
    from .distil import echo_report
    from .status import load_process

    pk = load_process(process, profile)
    folder = output or Path(f'report-{pk}')
    try:
        if orm.load_node(pk).process_label == 'DistillationWorkChain':
            echo_report(write_distillation_report(pk, folder))
        else:
            write_report(pk, folder)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f'wrote {folder}/report.html')
