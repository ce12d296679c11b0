"""``aiida-pyacemaker potential``: look at, evaluate, convert, compare and draw potentials, from files or nodes."""

from __future__ import annotations

import click

from .build import active_set_command, convert_command
from .describe import info_command, laws_command
from .evaluate import compare_command, evaluate_command
from .plot import plot_command


@click.group('potential')
def potential_group() -> None:
    """Look at, evaluate, convert, compare and draw potentials: files, folders of a fit, or nodes."""


for command in (
    info_command,
    laws_command,
    evaluate_command,
    compare_command,
    convert_command,
    active_set_command,
    plot_command,
):
    potential_group.add_command(command)
