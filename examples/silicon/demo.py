"""The whole loop on silicon in a profile of its own: ``make demo``.

``demo.py PK`` goes on with a run that was interrupted instead of starting one.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUTPUT = ROOT / 'demo-output'
PROFILE = 'demo'
TIME_LIMIT_S = 3600.0
NEEDED = ('pyacemaker-task@localhost', 'pyacemaker-lmp@localhost', 'pw@localhost', 'pseudopotentials')


def prepare_environment() -> None:
    """Point AiiDA at a folder of this checkout and one thread a program; before anything imports AiiDA."""
    os.environ['AIIDA_PATH'] = str(ROOT / '.aiida')
    os.environ['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
    for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
        os.environ[name] = '1'
    (ROOT / '.aiida').mkdir(exist_ok=True)


def set_up() -> None:
    """Make profile, codes and pseudopotentials; leave with a message when one that is needed is missing."""
    from silicon import CUTOFFS_RY, FAMILY, PSEUDOS

    from aiida_pyacemaker.cli.setup import print_findings, set_up_machine

    missing = [str(path) for path in PSEUDOS if not path.is_file()]
    if missing:
        sys.exit(f'{", ".join(missing)} not found, expected from the Debian package quantum-espresso-data: make setup')
    findings = set_up_machine(PROFILE, pseudos=PSEUDOS, family=FAMILY, cutoffs=CUTOFFS_RY)
    print_findings(findings)
    absent = [finding.what for finding in findings if finding.what in NEEDED and finding.state not in ('there', 'made')]
    if absent:
        sys.exit(f'the demo needs {", ".join(absent)}: see the table')


def run_loop() -> int:
    """Submit the loop to the daemon (or take the run given as argument), follow it to its end, return its PK."""
    from aiida import orm
    from aiida.engine import submit
    from silicon import make_builder

    from aiida_pyacemaker.cli.status import follow

    node = orm.load_node(sys.argv[1]) if len(sys.argv) > 1 else submit(make_builder())
    print(f'\nrun {node.pk}: AIIDA_PATH={os.environ["AIIDA_PATH"]} aiida-pyacemaker status {node.pk}\n', flush=True)
    try:
        follow(node.pk, time_limit_s=TIME_LIMIT_S)
    except KeyboardInterrupt:
        sys.exit(f'left; go on with: .venv/bin/python examples/silicon/demo.py {node.pk}')
    except TimeoutError as error:
        sys.exit(f'{error}; the daemon log is in {ROOT}/.aiida/daemon/log')
    return int(node.pk)


def close(pk: int) -> int:
    """Write the report, print the closing table, return the exit status: 0 only for a loop that reached its goal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from aiida_pyacemaker.report.page import write_report

    shutil.rmtree(OUTPUT, ignore_errors=True)
    summary = write_report(pk, OUTPUT)
    table = Table(title='the loop in numbers', title_justify='left', box=box.SIMPLE_HEAD, show_header=False)
    for name, value in summary.items():
        words = ', '.join(f'{key} {part}' for key, part in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name, words)
    table.add_row('report', f'{OUTPUT}/report.html')
    table.add_row('potential', f'{OUTPUT}/potential')
    Console().print(table)
    reached = summary['state'] == 'finished' and summary['exit_status'] == 0
    if not reached:
        print(f'the loop ended early: AIIDA_PATH={ROOT}/.aiida .venv/bin/verdi process report {pk}', file=sys.stderr)
    return 0 if reached else 1


def main() -> int:
    """Set up, run, report; the daemon is stopped whatever happens."""
    prepare_environment()
    set_up()
    from aiida_pyacemaker.cli.daemon import start_daemon, stop_daemon

    started = start_daemon(workers=2)
    try:
        pk = run_loop()
    finally:
        if started:
            stop_daemon()
    return close(pk)


if __name__ == '__main__':
    sys.exit(main())
