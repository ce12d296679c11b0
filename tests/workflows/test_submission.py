"""A step that runs twice leaves one child; seeds follow from the root and names alone."""

import json
from types import SimpleNamespace

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import BaseRestartWorkChain, ProcessState, WorkChain, run_get_node, while_
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from plumpy.persistence import Bundle, LoadSaveContext

from aiida_pyacemaker.workflows import submission
from aiida_pyacemaker.workflows.submission import (
    RestartOnce,
    SubmitOnce,
    adopt_called,
    derived_seed,
    drop_missing,
    find_called,
    is_queued,
)


class EmptyWorkChain(WorkChain):
    """Does nothing with its number."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('number', valid_type=orm.Int)
        spec.output('number', valid_type=orm.Int)
        spec.outline(cls.rest)

    def rest(self):
        self.out('number', self.inputs.number)


class KilledAtItsEnd(RestartOnce, BaseRestartWorkChain):
    """The worker that attached the outputs dies before the next checkpoint: the step is run again without them."""

    _process_class = EmptyWorkChain

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.expose_outputs(EmptyWorkChain)
        spec.outline(cls.setup, while_(cls.should_run_process)(cls.run_process, cls.inspect_process), cls.results)

    def setup(self):
        super().setup()
        self.ctx.inputs = {'number': orm.Int(3).store()}

    def results(self):
        super().results()
        self.update_outputs()
        self._outputs.clear()
        return super().results()


class ParentWorkChain(SubmitOnce, WorkChain):
    """Submits two children, in one step each."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.first, cls.second)

    def first(self):
        inputs = {'number': orm.Int(1), 'metadata': {'label': 'a'}}
        self.to_context(first=self.submit_once('step_1', EmptyWorkChain, inputs))

    def second(self):
        self.to_context(second=self.submit_once('stepx1', EmptyWorkChain, {'number': orm.Int(2)}))


def called_labels(node):
    return sorted(node.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all_link_labels())


def test_children_carry_their_label():
    _, node = run_get_node(ParentWorkChain)
    assert node.is_finished_ok and called_labels(node) == ['step_1', 'stepx1']
    assert find_called(node, 'step_1').inputs.number.value == 1
    assert find_called(node, 'step_1').label == 'a'
    assert find_called(node, 'step%') is None


def test_a_worker_killed_after_submit_adopts_its_child():
    runner = get_manager().get_runner()
    process = instantiate_process(runner, ParentWorkChain)
    before = Bundle(process)
    with process._process_scope():
        process.first()
    child = find_called(process.node, 'step_1')
    resumed = before.unbundle(LoadSaveContext(loop=runner.loop, runner=runner))
    assert resumed.node.pk == process.node.pk and resumed is not process
    with resumed._process_scope():
        resumed.first()
        resumed.second()
    assert called_labels(process.node) == ['step_1', 'stepx1']
    assert find_called(process.node, 'step_1').pk == child.pk


def test_outputs_that_a_killed_worker_had_attached_are_outputs_still():
    outputs, node = run_get_node(KilledAtItsEnd)
    assert node.is_finished_ok, node.exit_message
    assert outputs['number'].value == 3


def test_seed_depends_on_root_and_names_only():
    # first four bytes of sha256('1/label') and sha256('0/sample_pool'), little-endian, halved
    assert derived_seed(1, 'label') == 1055120357
    assert derived_seed(0, 'sample_pool') == 1284837231
    seeds = {derived_seed(root, *names) for root in (1, 2) for names in ((), ('a',), ('a', 'b'), ('ab',))}
    assert len(seeds) == 8 and all(0 <= seed < 2**31 for seed in seeds)


def test_missing_inputs_are_left_out():
    node = orm.Dict({'kept': None})
    assert drop_missing({'a': None, 'b': {'c': None, 'd': 1}, 'e': node}) == {'b': {'d': 1}, 'e': node}


class Recorder:
    """A runner of the daemon that notes which processes it is asked to continue."""

    is_daemon_runner = True

    def __init__(self):
        self.continued = []
        self.controller = self

    def continue_process(self, pk, **_):
        self.continued.append(pk)


@pytest.fixture
def orphaned(aiida_profile):
    """A parent whose step died between storing its child and telling the broker of it."""
    parent, child = orm.WorkChainNode().store(), orm.WorkChainNode()
    child.base.links.add_incoming(parent, LinkType.CALL_WORK, 'child')
    child.store()
    child.set_process_state(ProcessState.CREATED)
    return SimpleNamespace(node=parent, child=child, runner=Recorder(), report=print)


@pytest.fixture
def broker_tasks(tmp_path, monkeypatch):
    """The folder where a ZeroMQ broker keeps its tasks; the profile is told that it has one."""
    folders = {'broker_service': {'dir': str(tmp_path)}}
    config = SimpleNamespace(filepaths=lambda profile: folders)
    monkeypatch.setattr('aiida_pyacemaker.workflows.submission.get_config', lambda: config)
    tasks = tmp_path / 'storage' / 'tasks'
    for state in ('pending', 'processing'):
        (tasks / state).mkdir(parents=True)
    return tasks


def write_task(folder, pk):
    folder.joinpath(f'{pk}.json').write_text(json.dumps({'body': {'task': 'continue', 'args': {'pid': pk}}}))


def test_a_child_that_nobody_was_told_of_is_sent_on_its_way(orphaned, broker_tasks):
    orphaned.child.set_checkpoint('a checkpoint')
    write_task(broker_tasks / 'pending', orphaned.child.pk + 1)
    assert adopt_called(orphaned, 'child').pk == orphaned.child.pk
    assert orphaned.runner.continued == [orphaned.child.pk]


@pytest.mark.parametrize('state', ['pending', 'processing'])
def test_a_child_that_waits_for_its_turn_is_left_alone(orphaned, broker_tasks, state):
    orphaned.child.set_checkpoint('a checkpoint')
    write_task(broker_tasks / state, orphaned.child.pk)
    assert adopt_called(orphaned, 'child').pk == orphaned.child.pk and orphaned.runner.continued == []


def test_a_task_that_its_worker_gives_back_while_it_is_looked_for_is_found(broker_tasks, monkeypatch):
    """The broker puts it back among those that wait just after these were read."""
    write_task(broker_tasks / 'pending', 1)
    write_task(broker_tasks / 'processing', 2)

    def read_and_give_back(path, read=submission._task_pid):
        given_back = broker_tasks / 'processing' / '2.json'
        if given_back.exists():
            given_back.rename(broker_tasks / 'pending' / '2.json')
        return read(path)

    monkeypatch.setattr(submission, '_task_pid', read_and_give_back)
    assert submission.is_queued(2) is True and submission.is_queued(3) is False


@pytest.mark.parametrize('state', [ProcessState.CREATED, None])
def test_a_child_without_a_checkpoint_is_set_aside(orphaned, broker_tasks, state):
    if state is None:  # it died before the child had a state
        orphaned.child.base.attributes.delete('process_state')
    assert adopt_called(orphaned, 'child') is None
    assert orphaned.child.is_killed and find_called(orphaned.node, 'child') is None


def test_of_other_brokers_nothing_is_known(aiida_profile):
    assert is_queued(1) is None
