"""``aiida-pyacemaker labels``: look at a labelling, take its labels out, try its failed frames again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from .status import load_process

LABELLING = 'DftLabelWorkChain'


def load_labelling(identifier: str, profile: str | None) -> Any:
    """Return the finished labelling ``identifier``, or the only one below it; refuse anything else by name."""
    from aiida import orm

    root = orm.load_node(load_process(identifier, profile))
    found = [node for node in [root, *root.called_descendants] if node.process_label == LABELLING]
    if len(found) != 1:
        pks = ', '.join(str(node.pk) for node in found) or 'none'
        message = f'{identifier} holds {len(found)} labellings, expected 1 ({pks})'
        raise click.BadParameter(message, param_hint='PROCESS')
    if 'report' not in found[0].outputs:
        state = found[0].exit_message or found[0].process_state.value
        raise click.ClickException(f'labelling {found[0].pk} has no report: {state}')
    return found[0]


def read_labels(node: Any) -> Any:
    """Return all labelled frames of a labelling, in the order of its input."""
    from ..science.frames import concatenate_frames

    parts = dict(node.outputs.labels) if 'labels' in node.outputs else {}
    return concatenate_frames([parts[name].get_frames() for name in sorted(parts)])


def _flags(frames: Any, row: int) -> list[str]:
    theory = frames.theories[frames.theory_id[row]] if frames.theory_id[row] >= 0 else {}
    return list(theory.get('flags', []))


def label_table(node: Any) -> Table:
    """Return one line a frame: state, SCF, energy, largest force, and flags or the reason."""
    import numpy as np

    report, frames = node.outputs.report.get_dict(), read_labels(node)
    place = {row: index for index, row in enumerate(report['labelled'])}
    reasons = {row['row']: row['reason'] for row in report['failed']}
    reused = {row['row'] for row in report['reused']}
    table = Table(box=box.SIMPLE_HEAD)
    for column in ('frame', 'state', 'SCF', 'energy/eV', 'max |F|/eV/Å', 'note'):
        table.add_column(column, justify='left' if column in ('state', 'note') else 'right')
    for row in range(report['n_requested']):
        pk = str(report['pks'].get(str(row), ''))
        if row in place:
            index = place[row]
            force = np.linalg.norm(frames.forces[frames.span(index)], axis=1).max()
            state = 'labelled before' if row in reused else 'labelled'
            moments = report['magnetisation_muB'].get(str(row))
            notes = [*_flags(frames, index), *([f'{moments[0]:.2f} µB'] if moments else [])]
            table.add_row(str(row), state, pk, f'{frames.energy[index]:.4f}', f'{force:.3f}', '; '.join(notes))
        else:
            state = 'quarantine' if row in reasons else 'not run'
            table.add_row(str(row), state, pk, '', '', reasons.get(row, ''))
    return table


@click.group('labels')
def labels_group() -> None:
    """Look at DFT labels, take them out, try failed frames again."""


@labels_group.command('show')
@click.argument('process')
@click.option('-p', '--profile', help='AiiDA profile, when not the default one.')
def show_command(process: str, profile: str | None) -> None:
    """Print what became of every frame of the labelling PROCESS (PK or UUID, or of a workflow that holds one)."""
    node = load_labelling(process, profile)
    console = Console()
    console.print(label_table(node))
    report = node.outputs.report.get_dict()
    console.print(
        f'{report["n_labelled"]} labelled, {report["n_reused"]} of them before; {report["n_failed"]} in quarantine, '
        f'{report["n_not_run"]} not run; {report["n_scf"]} SCF runs, {report["core_hours"]:.4f} core-hours; '
        f'{report["cleaned_MB"]:.1f} MB of wave functions and densities removed'
    )


@labels_group.command('export')
@click.argument('process')
@click.option('-o', '--output', required=True, type=click.Path(dir_okay=False, path_type=Path), help='Extended XYZ.')
@click.option('--unflagged', is_flag=True, help='Leave out labels whose meaning a recovery changed.')
@click.option('--quarantine', is_flag=True, help='The frames without a label instead, each with its reason.')
@click.option('-p', '--profile', help='AiiDA profile, when not the default one.')
def export_command(process: str, output: Path, unflagged: bool, quarantine: bool, profile: str | None) -> None:
    """Write the labels of the labelling PROCESS, in the order of its input, to an extended-XYZ file."""
    from ..science.frames_io import write_extxyz

    node = load_labelling(process, profile)
    if quarantine:
        count = _export_quarantine(node, output)
    else:
        frames = read_labels(node)
        frames = frames.select(~frames.flagged) if unflagged else frames
        write_extxyz(output, frames)
        count = len(frames)
    click.echo(f'{count} frames in {output}')


def _export_quarantine(node: Any, output: Path) -> int:
    from ase.io import write

    if 'quarantine' not in node.outputs:
        output.write_text('')
        return 0
    kept_out = node.outputs.quarantine
    structures = list(kept_out.iter_ase())
    for atoms, row, reason in zip(
        structures, kept_out.base.attributes.get('rows'), kept_out.base.attributes.get('reasons'), strict=True
    ):
        atoms.info |= {'row': row, 'reason': reason}
    write(str(output), structures, format='extxyz')
    return len(structures)


@labels_group.command('retry')
@click.argument('process')
@click.option(
    '-s',
    '--set',
    'changes',
    nargs=2,
    multiple=True,
    metavar='SETTING VALUE',
    help='Another value of a `dft` setting, as electron_maxstep 300; may be given many times.',
)
@click.option('--max-calls', type=click.IntRange(min=1), help='Another budget of SCF runs.')
@click.option('-p', '--profile', help='AiiDA profile, when not the default one.')
def retry_command(
    process: str, changes: tuple[tuple[str, str], ...], max_calls: int | None, profile: str | None
) -> None:
    """Submit the labelling PROCESS again: what has a label is re-used, failed and unpaid frames are run."""
    from aiida.engine import submit

    builder = make_retry(load_labelling(process, profile), dict(changes), max_calls)
    click.echo(f'submitted {LABELLING}<{submit(builder).pk}>')


def make_retry(node: Any, changes: dict[str, str], max_calls: int | None = None) -> Any:
    """Return a builder of the same labelling that re-uses what there is; ``changes``: `dft` settings as text."""
    from aiida import orm

    from ..science.config import DftConfig, check_settings

    builder = node.get_builder_restart()
    settings = {**node.inputs.dft.get_dict(), 'reuse_labels': True}
    settings |= {name: _read(value) for name, value in changes.items()}
    message = check_settings(DftConfig, settings, 'dft')
    if message:
        raise click.BadParameter(message, param_hint='--set')
    builder.dft = orm.Dict(settings)
    if max_calls is not None:
        builder.max_calls = orm.Int(max_calls)
    return builder


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
