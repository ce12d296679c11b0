"""A step that runs twice leaves one child; seeds follow from the root and names alone."""

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import WorkChain, run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from plumpy.persistence import Bundle, LoadSaveContext

from aiida_pyacemaker.workflows.submission import SubmitOnce, derived_seed, drop_missing, find_called


class EmptyWorkChain(WorkChain):
    """Does nothing with its number."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('number', valid_type=orm.Int)
        spec.outline(cls.rest)

    def rest(self):
        pass


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


def test_seed_depends_on_root_and_names_only():
    # first four bytes of sha256('1/label') and sha256('0/sample_pool'), little-endian, halved
    assert derived_seed(1, 'label') == 1055120357
    assert derived_seed(0, 'sample_pool') == 1284837231
    seeds = {derived_seed(root, *names) for root in (1, 2) for names in ((), ('a',), ('a', 'b'), ('ab',))}
    assert len(seeds) == 8 and all(0 <= seed < 2**31 for seed in seeds)


def test_missing_inputs_are_left_out():
    node = orm.Dict({'kept': None})
    assert drop_missing({'a': None, 'b': {'c': None, 'd': 1}, 'e': node}) == {'b': {'d': 1}, 'e': node}
