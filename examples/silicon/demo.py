"""The whole loop on silicon in a profile of its own: ``make demo``.

A run that was interrupted is gone on with; ``rm -rf .aiida`` starts anew.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
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


def unfinished_run() -> int | None:
    """Return the PK of a loop that an earlier demo left unfinished, and put its waiting steps back into the queue."""
    from aiida import orm

    filters = {
        'attributes.process_label': 'HierarchicalDistillationWorkChain',
        'attributes.process_state': {'!in': ['finished', 'excepted', 'killed']},
    }
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=filters, project='id')
    pk = query.order_by({orm.WorkChainNode: {'id': 'desc'}}).first(flat=True)
    if pk is not None:
        print(f'going on with run {pk}, which was interrupted; to start anew: rm -rf {ROOT}/.aiida', flush=True)
        subprocess.run(['verdi', '-p', PROFILE, 'process', 'repair', '--force'], check=True, stdout=subprocess.DEVNULL)
    return pk


def run_loop(pk: int | None) -> int:
    """Submit the loop to the daemon (or take the run ``pk``), follow it to its end, return its PK."""
    from aiida.engine import submit
    from silicon import make_builder

    from aiida_pyacemaker.cli.status import follow

    pk = pk or int(submit(make_builder()).pk)
    command = f'AIIDA_PATH={ROOT}/.aiida {ROOT}/.venv/bin/aiida-pyacemaker status {pk}'
    print(f'\nrun {pk}; from another terminal: {command}\n', flush=True)
    try:
        follow(pk, time_limit_s=TIME_LIMIT_S)
    except KeyboardInterrupt:
        sys.exit('left; make demo goes on with this run')
    except TimeoutError as error:
        sys.exit(f'{error}; the daemon log is in {ROOT}/.aiida/daemon/log')
    return pk


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

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the daemon is stopped then, too
    stop_daemon()
    unfinished = unfinished_run()
    start_daemon(workers=2)
    try:
        pk = run_loop(unfinished)
    finally:
        stop_daemon()
    return close(pk)


if __name__ == '__main__':
    sys.exit(main())
