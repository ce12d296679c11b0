"""``aiida-pyacemaker``: set up, watch a run, report on it, look at potentials, labels, pseudopotentials, teachers."""

from __future__ import annotations

import click

from .distil import distil_command
from .families import pseudos_group
from .labels import labels_group
from .potential import potential_group
from .report import report_command
from .setup import setup_command
from .status import status_command
from .teachers import teacher_group


@click.group(context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(package_name='aiida-pyacemaker')
def main() -> None:
    """Distil a foundation model into a fast ACE potential; buy DFT only where it is ignorant."""


main.add_command(setup_command)
main.add_command(distil_command)
main.add_command(status_command)
main.add_command(report_command)
main.add_command(potential_group)
main.add_command(labels_group)
main.add_command(pseudos_group)
main.add_command(teacher_group)
