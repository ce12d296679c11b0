"""The live tree: what it reads from running tasks and what it shows of a run."""

import io
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from rich.console import Console

from aiida_pyacemaker.cli.tree import bar, build_tree, clock, curve_words, read_lammps_step, read_progress, tree_of
from aiida_pyacemaker.report.provenance import ProcessRow, call_tree, descendants
from aiida_pyacemaker.tasks.base import Progress

BEGAN = datetime.now(timezone.utc) - timedelta(seconds=70)
ROW = ProcessRow(
    pk=1, parent=None, label='root', process_label='Root', node_type='process.workflow.workchain.WorkChainNode.',
    state='waiting', exit_status=None, exit_message=None, began=BEGAN, changed=BEGAN + timedelta(seconds=65),
)


def text(tree):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(tree)
    return console.export_text()


def child(pk, label, **changes):
    return replace(ROW, **{'pk': pk, 'parent': 1, 'label': label, 'process_label': label, **changes})


def test_progress_is_the_last_whole_line(tmp_path):
    assert read_progress(str(tmp_path)) is None
    assert read_progress(None) is None
    progress = Progress(tmp_path / 'progress.jsonl')
    progress.report('labelling', 1, 4)
    progress.report('labelling', 2, 4, rmse=0.1)
    with (tmp_path / 'progress.jsonl').open('a') as handle:
        handle.write('{"stage": "lab')
    assert read_progress(str(tmp_path)) == {'stage': 'labelling', 'done': 2, 'total': 4, 'rmse': 0.1} | {
        'seconds': read_progress(str(tmp_path))['seconds']
    }


def test_lammps_step_is_the_last_whole_thermo_row(tmp_path):
    rows = '   Step  Temp\n    0   300.0   -4.6\n  100   310.5   -4.5e+00\n  20'
    (tmp_path / 'log.lammps').write_text('LAMMPS (22 Jul 2025)\nunits metal\n' + rows)
    assert read_lammps_step(str(tmp_path)) == 100


def test_bar_and_clock():
    assert bar(1, 4) == '━' * 6 + '╌' * 18 + '  25 %'
    assert bar(9, 4).endswith('100 %')
    assert bar(0, 0).endswith('  0 %')
    assert (clock(59.9), clock(187)) == ('59 s', '3:07 min')


def test_a_running_fit_shows_its_learning_curve():
    curve = {'iterations': 57, 'loss': 1e-3, 'losses': [1.0, 0.1, 0.01, 1e-3], 'maxiter': 200}
    words = 'loss █▆▃▁ 1.00e-03 (57/200 iterations)'
    assert curve_words(curve) == words
    assert curve_words({**curve, 'loss': None, 'losses': [1.0, None]}) == 'loss ▁ not finite (57/200 iterations)'
    job = child(2, 'iteration_01', node_type='process.calculation.calcjob.CalcJobNode.', state='waiting', curve=curve)
    assert words in text(build_tree([ROW, job], {}))


def test_tree_shows_labels_bars_and_failures(tmp_path):
    Progress(tmp_path / 'progress.jsonl').report('fitting', 3, 4)
    job = 'process.calculation.calcjob.CalcJobNode.'
    rows = [
        ROW,
        child(2, 'distillation_1', state='finished', exit_status=0),
        child(3, 'round_01_cutout'),
        child(4, 'fit', node_type=job, parent=3, folder=str(tmp_path)),
        child(5, 'label', node_type=job, parent=3, state='finished', exit_status=310, exit_message='bad input'),
    ]
    shown = text(build_tree(rows, {}))
    assert '✓ distillation_1 #2 1:05 min' in shown
    assert '  fitting ━━━━━━━━━━━━━━━━━━╌╌╌╌╌╌  75 % (3/4)' in shown
    assert '✗ label #5 finished [310] bad input' in shown


def test_finished_siblings_are_folded():
    scfs = [child(10 + index, f'scf_{index}', parent=2, state='finished', exit_status=0) for index in range(7)]
    rows = [ROW, child(2, 'lane'), *scfs]
    shown = text(build_tree(rows, {}))
    assert '✓ 3 more' in shown
    assert 'scf_2' not in shown
    assert 'scf_6' in shown


@pytest.mark.usefixtures('aiida_profile_clean')
def test_rows_of_a_real_run(aiida_code_installed):
    from aiida import orm
    from aiida.engine import run_get_node
    from aiida.plugins import WorkflowFactory

    code = aiida_code_installed(filepath_executable='/bin/bash', default_calc_job_plugin='core.arithmetic.add')
    _, node = run_get_node(
        WorkflowFactory('core.arithmetic.multiply_add'), code=code, x=orm.Int(1), y=orm.Int(2), z=orm.Int(3)
    )
    rows = call_tree(node.pk)
    assert [row.process_label for row in rows] == ['MultiplyAddWorkChain', 'multiply', 'ArithmeticAddCalculation']
    assert [row.parent for row in rows] == [None, node.pk, node.pk]
    assert all(row.is_ok for row in rows)
    assert {row.pk for row in descendants(rows, node.pk)} == {row.pk for row in rows[1:]}
    tree, over = tree_of(node.pk)
    assert over
    assert 'ArithmeticAddCalculation' in text(tree)
    with pytest.raises(ValueError, match='not a process'):
        call_tree(code.pk)
