"""What is done about each end of a run; fake runs have only outputs and exit codes that the CalcJob declares."""

import inspect
import io
import re
from pathlib import Path

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from ase.build import bulk
from plumpy import ProcessState

from aiida_pyacemaker.calculations.lammps import LammpsCalculation
from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.parsers import lammps as lammps_parser
from aiida_pyacemaker.workflows import lammps_base
from aiida_pyacemaker.workflows.lammps_base import LammpsBaseWorkChain

FIXTURES = Path(__file__).parents[1] / 'fixtures'
SUMMARY = {
    'outcome': None, 'first_step': 0, 'last_step': 70, 'goal_step': 100, 'n_checks': 8, 'n_checks_over_call': 3,
    'restart_previous_step': 40, 'end_is_physical': True, 'seconds': 1.5, 'learning_row': 2, 'timestep_ps': 0.002,
}  # fmt: skip


@pytest.fixture
def inputs(lammps_code, serial_options):
    lammps = {
        'code': lammps_code,
        'potential': AcePotentialData.from_folder(FIXTURES / 'md').store(),
        'structure': AtomicDatasetData.from_atoms(bulk('Cu', cubic=True, a=3.6) * (2, 2, 2)).store(),
        'md': orm.Dict({'n_steps': 100, 'restart_every': 20, 'dump_every': 20, 'timestep_ps': 0.002}),
        'thresholds': orm.Dict({}),
        'seed': orm.Int(3),
        'metadata': {'options': serial_options},
    }
    return {'lammps': lammps}


@pytest.fixture
def process(inputs):
    """A WorkChain that is set up and has run nothing."""
    made = instantiate_process(get_manager().get_runner(), LammpsBaseWorkChain, **inputs)
    made.setup()
    made.ctx.children = []
    return made


def restart(content):
    return orm.SinglefileData(io.BytesIO(content.encode()), filename='x')


@pytest.fixture
def run(process):
    """Let a fake run of LAMMPS end and be inspected; return (node, what the outline step returned)."""

    def end(exit_code=None, outcome=None, restarts=('restart', 'restart_previous'), **summary):
        node = orm.CalcJobNode(
            computer=process.ctx.inputs.code.computer, process_type=LammpsCalculation.build_process_type()
        )
        node.set_process_label('LammpsCalculation')
        node.base.links.add_incoming(process.node, LinkType.CALL_CALC, f'iteration_{process.ctx.iteration + 1:02d}')
        node.store()
        values = {**SUMMARY, 'outcome': outcome, **summary}
        outputs = {'summary': orm.Dict(values), **{name: restart(name) for name in restarts}}
        if outcome is not None:
            outputs['outcome'] = orm.Str(outcome)
        for name, output in outputs.items():
            assert name in LammpsCalculation.spec().outputs, f'{name} is no output of LammpsCalculation'
            output.base.links.add_incoming(node, LinkType.CREATE, name)
            output.store()
        code = LammpsCalculation.exit_codes[exit_code] if exit_code else None
        node.set_exit_status(code.status if code else 0)
        node.set_exit_message(code.message if code else None)
        node.set_process_state(ProcessState.FINISHED)
        process.ctx.iteration += 1
        process.ctx.children.append(node)
        extras = process.node.base.extras.get(process._considered_handlers_extra, [])
        process.node.base.extras.set(process._considered_handlers_extra, [*extras, []])
        return node, process.inspect_process()

    return end


def status(result):
    return 0 if result is None else result.status


def test_a_goal_and_a_halt_are_the_end(process, run):
    _, result = run(outcome='goal', last_step=100)
    assert status(result) == 0 and process.ctx.is_finished
    process.results()
    assert {'outcome', 'summary', 'restart', 'restart_previous'} <= set(process.outputs)
    assert process.outputs['summary']['n_segments'] == 1
    assert process.outputs['summary']['timestep_halved_at'] is None


def test_a_wall_limit_is_gone_on_from(process, run):
    seed = process.ctx.inputs.seed.value
    node, result = run(outcome='walltime')
    assert status(result) == 0 and not process.ctx.is_finished
    assert process.ctx.inputs.restart.uuid == node.outputs.restart.uuid
    assert 'structure' not in process.ctx.inputs
    assert process.ctx.inputs.seed.value != seed
    node, result = run(outcome='halted', first_step=70, last_step=90)
    assert status(result) == 0 and process.ctx.is_finished
    process.results()
    summary = process.outputs['summary'].get_dict()
    assert (summary['first_step'], summary['last_step'], summary['n_segments']) == (0, 90, 2)
    assert (summary['n_checks'], summary['seconds']) == (16, 3.0)
    assert summary['time_ps'] == pytest.approx(90 * 0.002)


def test_runs_that_are_spent_leave_their_outputs(inputs, run, process):
    process.ctx.iteration = 49
    process.ctx.children = [None] * 49
    node, result = run(outcome='walltime')
    assert result.status == 601 and 'step 70' in result.message
    assert process.outputs['restart'].uuid == node.outputs.restart.uuid


@pytest.mark.parametrize('code', ['ERROR_KILLED', 'ERROR_CRASHED', 'ERROR_NO_LOG', 'ERROR_UNREADABLE_OUTPUT'])
def test_a_kill_is_replayed_with_the_same_inputs(process, run, code):
    before = dict(process.ctx.inputs)
    for _ in range(2):
        _, result = run(code, restarts=())
        assert status(result) == 0 and not process.ctx.is_finished
        assert dict(process.ctx.inputs) == before
    _, result = run(code, restarts=())
    assert result.status == 412 and 'failed 3 times' in result.message


def test_a_hard_wall_limit_is_gone_on_from_the_newest_restart_file(process, run):
    node, result = run('ERROR_SCHEDULER_OUT_OF_WALLTIME', restarts=('restart_previous',))
    assert status(result) == 0
    assert process.ctx.inputs.restart.uuid == node.outputs.restart_previous.uuid
    assert list(process.ctx.summaries) == ['segment_01']
    _, result = run(
        'ERROR_SCHEDULER_OUT_OF_WALLTIME', restarts=('restart_previous',), first_step=40, restart_previous_step=40
    )
    assert result.status == 411 and 'below one restart interval' in result.message


@pytest.mark.parametrize(
    ('code', 'outcome'),
    [(None, 'danger'), ('ERROR_LOST_ATOMS', 'lost_atoms'), ('ERROR_NON_FINITE', 'non_finite')],
)
def test_an_excursion_goes_back_with_half_the_timestep_once(process, run, code, outcome):
    node, result = run(code, outcome=outcome, end_is_physical=False)
    assert status(result) == 0 and not process.ctx.is_finished
    assert process.ctx.inputs.restart.uuid == node.outputs.restart_previous.uuid
    assert process.ctx.inputs.md['timestep_ps'] == 0.001
    log = [record.message for record in orm.Log.collection.get_logs_for(process.node)]
    assert any('goes back to step 40; timestep_ps 0.002 -> 0.001' in message for message in log)
    later = {'first_step': 40, 'restart_previous_step': 60, 'timestep_ps': 0.001}
    again, result = run(code, outcome=outcome, end_is_physical=False, **later)
    assert status(result) == 0 and process.ctx.is_finished
    process.results()
    assert process.outputs['outcome'].value == outcome
    assert process.outputs['restart'].uuid == again.outputs.restart_previous.uuid
    summary = process.outputs['summary'].get_dict()
    assert (summary['resume_step'], summary['rolled_back'], summary['timestep_halved_at']) == (60, True, 40)
    assert summary['time_ps'] == pytest.approx(40 * 0.002 + 20 * 0.001)


def test_after_a_full_disk_its_folder_goes_and_md_goes_on_from_the_newest_restart_file(process, run):
    node, result = run('ERROR_DISK_FULL', restarts=('restart_previous',))
    assert status(result) == 0
    assert process.ctx.inputs.restart.uuid == node.outputs.restart_previous.uuid
    before = dict(process.ctx.inputs)
    run('ERROR_DISK_FULL', restarts=(), first_step=40, restart_previous_step=None)
    assert dict(process.ctx.inputs) == before and process.ctx.tries == 2, 'nothing to go on from: the segment again'


def test_a_soft_start_that_was_cut_short_is_made_again(process, run):
    process.ctx.inputs.soft_start = orm.Bool(True)
    process.ctx.inputs.previous_potential = process.ctx.inputs.potential
    run(outcome='walltime', last_step=70, soft_start_until=80)
    assert process.ctx.inputs.soft_start.value and 'previous_potential' in process.ctx.inputs
    run(outcome='walltime', first_step=70, last_step=90, soft_start_until=80)
    assert not process.ctx.inputs.soft_start.value and 'previous_potential' not in process.ctx.inputs


def test_an_excursion_without_a_restart_file_begins_where_the_segment_began(process, run):
    structure = process.ctx.inputs.structure
    process.ctx.inputs.soft_start = orm.Bool(True)
    run('ERROR_LOST_ATOMS', outcome='lost_atoms', restarts=(), restart_previous_step=None, end_is_physical=False)
    assert process.ctx.inputs.structure.uuid == structure.uuid
    assert 'restart' not in process.ctx.inputs
    assert process.ctx.inputs.soft_start.value, 'its potential is as new to it as before'


@pytest.mark.parametrize(
    'code',
    [
        'ERROR_REFUSED_BY_LAMMPS',
        'ERROR_CANARY_DIFFERS',
        'ERROR_GRADES_ARE_ZERO',
        'ERROR_SCHEDULER_OUT_OF_MEMORY',
    ],
)
def test_what_would_fail_again_is_not_tried_again(run, code):
    assert run(code, restarts=())[1].status == 413


def test_an_end_that_nobody_knows_is_not_handled(run):
    assert run('ERROR_SCHEDULER_INVALID_ACCOUNT', restarts=())[1].status == 402


def test_handlers_and_parser_speak_of_the_same_exit_codes():
    """Every code the parser gives has a handler; every handler's code is given by the parser or the scheduler."""
    parser = set(re.findall(r'exit_codes\.(\w+)', inspect.getsource(lammps_parser)))
    handlers = set(re.findall(r'CODES\.(\w+)', inspect.getsource(lammps_base)))
    assert parser and parser <= set(LammpsCalculation.exit_codes)
    assert {code for code in handlers if not code.startswith('ERROR_SCHEDULER_')} == parser


def test_danger_through_the_real_program(inputs):
    """Copper so dense that γ is far above danger: back, half the timestep, then the end."""
    dense = AtomicDatasetData.from_atoms(bulk('Cu', cubic=True, a=3.0) * (2, 2, 2)).store()
    inputs['lammps'] |= {'structure': dense}
    outputs, node = run_get_node(LammpsBaseWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['outcome'].value == 'danger'
    assert outputs['summary']['timestep_ps'] == 0.001
    assert outputs['summary']['timestep_halved_at'] == 0
    first, second = (called for called in node.called if isinstance(called, orm.CalcJobNode))
    assert second.inputs.restart.uuid == first.outputs.restart_previous.uuid
    assert all(called.outputs.remote_folder.is_cleaned for called in (first, second))


def test_a_step_that_ran_twice_adopts_its_child(process, run):
    """A worker that was killed after it had submitted runs the step again."""
    node, _ = run(outcome='walltime')
    process.ctx.iteration = 0
    process.run_process()
    assert process.ctx.iteration == 1 and [child.pk for child in process.node.called] == [node.pk]
