"""``aiida-pyacemaker status PK``: the run as a live tree."""

from __future__ import annotations

import math
import time

import click
from rich.console import Console
from rich.live import Live

PRINT_EVERY_S = 60.0


def follow(root: int, *, interval_s: float = 2.0, time_limit_s: float = math.inf) -> None:
    """Show the tree of ``root`` until it is over: redrawn in a terminal, printed once a minute elsewhere.

    Raises ``TimeoutError`` when it is not over after ``time_limit_s``.
    """
    from .tree import tree_of

    console = Console()
    began = printed = time.monotonic()
    tree, over = tree_of(root)
    with Live(tree, console=console, refresh_per_second=2, vertical_overflow='crop') as live:
        while not over:
            if time.monotonic() - began > time_limit_s:
                raise TimeoutError(f'process {root} is not over after {time_limit_s:.0f} s')
            time.sleep(interval_s)
            tree, over = tree_of(root)
            live.update(tree)
            if not console.is_terminal and time.monotonic() - printed > PRINT_EVERY_S:
                printed = time.monotonic()
                console.print(tree)
    if not console.is_terminal:
        console.print()


def use_profile(profile: str | None) -> str:
    """Load the profile (``None``: the default one) and return its name; what to run where there is none."""
    from aiida import load_profile
    from aiida.common.exceptions import ConfigurationError

    try:
        return str(load_profile(profile).name)
    except ConfigurationError as error:
        raise click.ClickException(f'{error}: run aiida-pyacemaker setup, or name another --profile') from error


def load_process(identifier: str, profile: str | None) -> int:
    """Load the profile and return the PK of a process given by PK or UUID."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    use_profile(profile)
    try:
        node = orm.load_node(identifier)
    except (NotExistent, ValueError) as error:
        raise click.BadParameter(f'{identifier}: {error}', param_hint='PROCESS') from error
    if not isinstance(node, orm.ProcessNode):
        raise click.BadParameter(f'{identifier} is a {type(node).__name__}, expected a process', param_hint='PROCESS')
    return int(node.pk)


@click.command('status')
@click.argument('process')
@click.option('-p', '--profile', help='AiiDA profile, when not the default one.')
@click.option('--once', is_flag=True, help='Print the tree once and leave.')
def status_command(process: str, profile: str | None, once: bool) -> None:
    """Watch PROCESS (PK or UUID): its steps by name, with bars for what runs now."""
    from .setup import daemon_finding
    from .tree import tree_of

    pk = load_process(process, profile)
    tree, over = tree_of(pk)
    if not over and daemon_finding().state == 'missing':
        click.echo('the daemon is stopped, nothing moves: verdi daemon start 2', err=True)
    if once:
        Console().print(tree)
        return
    try:
        follow(pk)
    except KeyboardInterrupt:
        click.echo('left; the run goes on')
