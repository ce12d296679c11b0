"""The root: bad input is refused before anything runs; failed gates bring a denser pool; the best is attached."""


import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from ase.build import bulk

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.data.teacher import TeacherModelData
from aiida_pyacemaker.workflows.explore import ExplorationWorkChain
from aiida_pyacemaker.workflows.hierarchical import HierarchicalDistillationWorkChain, LearningWorkChain


def overlapping():
    """Two silicon atoms 0.5 Å apart."""
    atoms = bulk('Si', 'diamond', a=5.43, cubic=True)
    atoms.positions[1] = atoms.positions[0] + [0.5, 0.0, 0.0]
    return AtomicDatasetData.from_atoms(atoms)


@pytest.mark.parametrize(
    ('overrides', 'words'),
    [
        ({'strategi': {}}, ('strategi', 'allowed')),
        ({'pw_parameters': {'SYSTM': {'nspin': 2}}}, ('pw.parameters', 'SYSTM', 'allowed: CONTROL, SYSTEM')),
        ({'pw_parameters': {'CONTROL': {'tprnfor': False}}}, ('pw.parameters', 'CONTROL.tprnfor')),
        ({'md': {'n_step': 5}}, ('md.n_step',)),
        ({'md': {'timestep_ps': -0.001}}, ('md.timestep_ps', '-0.001', 'greater than 0')),
        ({'md': {'temperature_end_K': float('nan')}}, ('md.temperature_end_K', 'nan')),
        ({'strategy': {'thresholds': {'threshold_call_dft': 1.0}}}, ('strategy.thresholds', 'must rise', '1.0')),
        ({'strategy': {'max_event_repeats': 1}}, ('strategy.max_event_repeats', 'greater than or equal to 2')),
        ({'strategy': {'incremental_update': False}}, ('incremental_update', 'allowed: true')),
        ({'strategy': {'replay_buffer_size': 0}}, ('replay_buffer_size', 'greater than 0')),
        ({'strategy': {'thresholds': {'measure': 'teacher', 'threshold_call_dft': 5.0, 'threshold_danger': 10.0}}},
         ('strategy.thresholds', '5.0 eV/Å', "measure 'gamma'")),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_by_name(make_builder, overrides, words):
    """One line names the key, its value and what is allowed."""
    with pytest.raises(ValueError) as caught:
        make_builder(overrides=overrides)
    assert all(word in str(caught.value) for word in words), caught.value


def test_bad_nodes_are_refused_before_submission(
    make_builder, task_code, pw_code, pseudos, silicon_prototypes, teacher_files
):
    """Codes, elements and structures are held against each other when the process is made."""
    copper = AtomicDatasetData.from_atoms(bulk('Cu', 'fcc', a=3.6, cubic=True))
    large = AtomicDatasetData.from_atoms(bulk('Si', 'diamond', a=5.43, cubic=True) * 3)
    both = {'target_force_error': 0.1, 'threshold_call_dft': 4.0}
    cases = [
        ({'pseudos': {'Si': pseudos['Si']}}, ('pw.pseudos', 'no H')),
        ({'structures': {'prototypes': copper, 'md_structure': copper}}, ('teacher', 'no Cu')),
        (
            {'structures': {'prototypes': silicon_prototypes, 'md_structure': overlapping()}},
            ('md_structure', '0.500 Å'),
        ),
        ({'codes': {'task': task_code, 'lammps': pw_code, 'pw': pw_code}}, ('lammps_code', 'quantumespresso.pw')),
        ({'overrides': {'strategy': {'replay_buffer_size': 7}}}, ('replay_buffer_size', 'trainer.pacemaker')),
        ({'overrides': {'strategy': {'thresholds': both}}}, ('target_force_error', 'both given')),
        ({'overrides': {'md': {'dump_every': 15}}}, ('md.dump_every = 15', 'check_every = 10')),
        ({'overrides': {'strategy': {'stride_steps': 15}}}, ('strategy.stride_steps = 15', 'allowed: 20 and more')),
        (
            {
                'structures': {'prototypes': silicon_prototypes, 'md_structure': large},
                'overrides': {'cutout': {'policy': 'whole_frame'}},
            },
            ('nothing can be cut out of frame 0 (216 atoms)', 'max_frame_atoms (200)'),
        ),
        ({'overrides': {'dft': {'ecutwfc': None, 'ecutrho': None}}}, ('dft.ecutwfc', 'no installed family')),
    ]
    single = TeacherModelData.from_files(teacher_files[:1], source='here', licence='MIT')
    cases += [
        ({'teacher': single, 'overrides': {'strategy': {'use_tiered_oracle': True}}}, ('tiered_oracle', 'committee')),
        ({'overrides': {'distillation': {'enable': False}}}, ('distillation.enable', 'give `potential`')),
    ]
    before = orm.QueryBuilder().append(orm.ProcessNode).count()
    for changes, words in cases:
        builder = make_builder(**changes)
        with pytest.raises(ValueError) as caught:
            run_get_node(builder)
        assert all(word in str(caught.value) for word in words), caught.value
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == before


def test_unknown_pw_inputs_are_refused_and_options_keep_their_defaults(make_builder, pw_code):
    """A misspelt port of the SCF is an error of the root, not of a child hours later."""
    builder = make_builder(options={'max_wallclock_seconds': 7200})
    assert builder.options['max_wallclock_seconds'] == 7200 and 'resources' in builder.options
    inputs = builder._inputs(prune=True)
    inputs['pw']['parameter'] = orm.Dict({})
    with pytest.raises(ValueError, match='parameter'):
        instantiate_process(get_manager().get_runner(), HierarchicalDistillationWorkChain, **inputs)


def finished_child(process, exit_status, **outputs):
    """Return a finished workflow of a class with these outputs; a nested one is named ``reports__walker_1``."""
    child = orm.WorkChainNode()
    child.set_process_label(process.__name__)
    child.set_process_type(process.build_process_type())
    child.store()
    for name, values in outputs.items():
        child_output = orm.Dict(values).store()
        child_output.base.links.add_incoming(child, LinkType.RETURN, name)
    child.set_process_state('finished')
    child.set_exit_status(exit_status)
    return child


@pytest.fixture
def root(make_builder):
    """The root in its first round, before it has a potential."""
    process = instantiate_process(get_manager().get_runner(), make_builder())
    process.setup()
    process.ctx.round = 1
    return process


@pytest.mark.parametrize(('n_scf', 'status'), [(2, 404), (12, 602)])
def test_scf_runs_without_a_label_are_paid_all_the_same(root, n_scf, status):
    """Phase 3 gave no label and nothing is left to try; its SCFs are booked, a spent budget is called by its name."""
    root.ctx.batch = [{'walker': 'walker_1', 'round': 1, 'event': 0, 'level': 1, 'summary': {'n_atoms': 10_000}}]
    root.ctx.events = [{'fingerprints': [], 'count': 1}]
    root.ctx.learning = finished_child(LearningWorkChain, 401, reports__walker_1={'n_scf': n_scf, 'n_labelled': 0})
    assert root.inspect_learning().status == status
    assert root.ctx.spent == n_scf and root.ctx.records['round_01_cutout']['n_scf'] == n_scf


def test_spent_segments_are_a_spent_budget(root):
    """MD that uses up its segments ends with the budget's exit code, and its steps are in the summary."""
    root.ctx.moving = ['walker_1']
    summary = {'outcome': 'walltime', 'last_step': 70, 'goal_step': 2000}
    root.ctx.walker_1 = finished_child(ExplorationWorkChain, 601, summary=summary)
    stop = root.inspect_round()
    assert (stop.status, 'MD segments' in stop.message) == (602, True)
    assert root.ctx.records['round_01_explore']['last_step'] == 70


def test_a_truncated_model_is_refused(teacher_files, tmp_path, aiida_profile):
    """A half-copied model file is named."""
    half = tmp_path / 'half.model'
    half.write_bytes(teacher_files[0].read_bytes()[:5000])
    with pytest.raises(ValueError, match=r'half\.model'):
        TeacherModelData.from_files([half], source='test', licence='MIT')


def test_failed_gates_bring_a_denser_pool_and_the_best_potential(make_builder):
    """The first labels do not span the basis, no potential meets a gate of 1e-6: each brings a denser pool, then the
    run ends with what there is.
    """
    _, node = run_get_node(make_builder(attempts=3))
    assert node.exit_status == 601, (node.exit_status, node.exit_message)
    called = {link.link_label: link.node for link in node.base.links.get_outgoing().all()}
    attempts = [called[f'distillation_{attempt}'] for attempt in (1, 2, 3)]
    assert [attempt.exit_status for attempt in attempts] == [411, 0, 0]
    for column in ('pool', 'labelled'):
        sizes = [len(attempt.outputs[column]) for attempt in attempts]
        assert sizes[0] < sizes[1] < sizes[2], column
    judged = {name: child.exit_status for name, child in called.items() if name.startswith('validation_')}
    assert judged == {'validation_2': 601, 'validation_3': 601}
    assert {'potential', 'teacher', 'blocks'} <= set(node.outputs)
