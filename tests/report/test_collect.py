"""The report of a run whose answer is known: a stored graph of two rounds, one halt, known forces."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from ase.build import bulk

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.report.collect import collect_run, summarise
from aiida_pyacemaker.report.evaluate import core_force_errors
from aiida_pyacemaker.report.page import write_report
from aiida_pyacemaker.science.ace import AceCalculator, build_potential
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.md.uncertainty_map import map_uncertainty

STEP = 0.25  # eV/Å, what the first potential's forces are off by on every core component
EXAMPLE = Path(__file__).parents[2] / 'examples' / 'silicon'


def make_process(kind, label, caller=None, link='CALL', inputs=None, outputs=None):
    """Store one ended process with its links."""
    node = kind()
    node.set_process_label(label)
    call = LinkType.CALL_WORK if kind is orm.WorkChainNode else LinkType.CALL_CALC
    taken = LinkType.INPUT_CALC if kind is orm.CalcJobNode else LinkType.INPUT_WORK
    if caller is not None:
        node.base.links.add_incoming(caller, call, link)
    for name, value in (inputs or {}).items():
        node.base.links.add_incoming(value.store(), taken, name)
    node.store()
    node.set_process_state('finished')
    node.set_exit_status(0)
    given = LinkType.RETURN if kind is orm.WorkChainNode else LinkType.CREATE
    for name, value in (outputs or {}).items():
        if kind is orm.WorkChainNode:
            value.store()
        value.base.links.add_incoming(node, given, name)
        value.store()
    return node


@pytest.fixture(scope='module')
def student():
    empty = build_potential(['Si'], FitConfig(number_of_functions_per_element=20, cutoff=4.5))
    rng = np.random.default_rng(3)
    return empty.with_coefficients(0.05 * rng.normal(size=len(empty.coefficients)))


def store_potential(student, folder, scale=1.0):
    folder.mkdir()
    student.with_coefficients(scale * student.coefficients).write_yaml(folder / 'potential.yaml')
    return AcePotentialData.from_folder(folder)


def labelled_frames(student, offset=0.0):
    """Two rattled crystals with the student's own forces plus ``offset``; only the first two atoms of each are core."""
    structures = [bulk('Si', cubic=True) for _ in range(2)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
        atoms.calc = AceCalculator(student)
    forces = np.concatenate([atoms.get_forces() for atoms in structures]) + offset
    weight = np.tile([1.0, 1.0, 0, 0, 0, 0, 0, 0], 2)
    forces[weight == 0] = np.nan
    return Frames.from_atoms(structures, forces=forces, force_weight=weight)


@pytest.fixture(scope='module')
def potentials(aiida_profile, student, tmp_path_factory):
    """A potential with other forces, and the one the frames were labelled with."""
    folder = tmp_path_factory.mktemp('potentials')
    return store_potential(student, folder / 'first', scale=0.5), store_potential(student, folder / 'last')


@pytest.fixture(scope='module')
def root(aiida_profile, student, potentials):
    """A finished loop: distillation, validation, kept-out walker and cutout, a halted round, a round to the goal."""
    first, last = potentials
    frames = AtomicDatasetData.from_frames(labelled_frames(student))
    md = orm.Dict({'n_steps': 40, 'timestep_ps': 0.002})
    root = orm.WorkChainNode()
    root.set_process_label('HierarchicalDistillationWorkChain')
    structure = AtomicDatasetData.from_atoms(bulk('Si', cubic=True)).store()
    for name, value in {'md': md.store(), 'seed': orm.Int(7).store(), 'md_structure': structure}.items():
        root.base.links.add_incoming(value, LinkType.INPUT_WORK, name)
    root.store()
    work, job = orm.WorkChainNode, orm.CalcJobNode

    outputs = {'potential': first.store()}
    distillation = make_process(work, 'DistillationWorkChain', root, 'distillation_1', outputs=outputs)
    pool = AtomicDatasetData.from_frames(Frames.from_atoms([bulk('Si')] * 9))
    labels = AtomicDatasetData.from_frames(Frames.from_atoms([bulk('Si')] * 5))
    make_process(job, 'SampleCalculation', distillation, 'sample', outputs={'dataset': pool})
    make_process(job, 'LabelCalculation', distillation, 'label', outputs={'dataset': labels})
    gates = [{'name': 'lattice', 'value': 0.001, 'limit': 0.01, 'passed': True}]
    make_process(work, 'ValidationWorkChain', root, 'validation_1', outputs={'report': orm.Dict({'gates': gates})})

    def explore(label, outcome, potential, steps):
        summary = orm.Dict({'first_step': steps[0], 'last_step': steps[-1], 'goal_step': 40})
        gamma = orm.ArrayData()
        gamma.set_array('step', np.array(steps))
        gamma.set_array('max_gamma', np.linspace(1, 6, len(steps)))
        outputs = {'outcome': orm.Str(outcome), 'summary': summary}
        child = make_process(work, 'ExplorationWorkChain', root, label, {'potential': potential}, outputs)
        graded = Frames.from_atoms([bulk('Si')] * len(steps), gamma=np.linspace(1, 6, 2 * len(steps)))
        unsure = orm.ArrayData(map_uncertainty(graded, steps, np.full(len(steps), 300.0)))
        outputs = {'gamma': gamma, 'outcome': orm.Str(outcome), 'uncertainty_map': unsure}
        make_process(job, 'LammpsCalculation', child, 'segment_1', outputs=outputs)

    def cut(caller, label, n_scf, outputs=None):
        child = make_process(work, 'CutoutWorkChain', caller, label, outputs=outputs)
        for index in range(n_scf):
            make_process(job, 'PwCalculation', child, f'scf_{index}')

    explore('held_out_walker', 'halted', first, [0, 10])
    cut(root, 'held_out_cutout', 1, {'training_dataset': frames})
    explore('round_01_explore', 'halted', first, [0, 10, 20])
    met = orm.Dict({'step': 10, 'atom': 3, 'gamma': 6.0, 'n_atoms': 8})
    make_process(orm.CalcFunctionNode, 'describe_halt', root, 'round_01_event', outputs={'result': met})
    learn = make_process(work, 'LearningWorkChain', root, 'round_01_learn')
    cut(learn, 'cutout_walker_1', 2)
    make_process(work, 'FinetuneWorkChain', learn, 'finetune', outputs={'potential': last.store()})
    explore('round_02_explore', 'goal', last, [20, 40])
    escalation = {'round': 1, 'walker': 'walker_1', 'event': 1, 'step': 'a bigger core'}
    told = orm.Dict({'escalations': [escalation], 'passed_over': [], 'swaps': []}).store()
    for name, value in {'potential': last, 'held_out_dataset': frames, 'summary': told}.items():
        value.base.links.add_incoming(root, LinkType.RETURN, name)
    root.set_process_state('finished')
    root.set_exit_status(0)
    return root


def test_rmse_counts_core_components_only(student, potentials):
    _, last = potentials
    exact = core_force_errors(last, labelled_frames(student))
    assert exact['rmse_eV_per_A'] == pytest.approx(0, abs=1e-12)
    assert len(exact['reference']) == 2 * 2 * 3
    assert core_force_errors(last, labelled_frames(student, STEP))['rmse_eV_per_A'] == pytest.approx(STEP, abs=1e-12)
    bare = labelled_frames(student)
    with pytest.raises(ValueError, match='no atom'):
        core_force_errors(last, bare.with_columns(force_weight=np.zeros(bare.n_atoms)))


def test_numbers_of_a_known_run(root):
    collected = collect_run(root.pk)
    summary = summarise(collected)
    expected = {
        'n_frames': 9, 'n_teacher_labels': 5, 'n_dft_calls': 3, 'n_halts': 1, 'n_rounds': 2, 'n_walkers': 1,
        'md_steps_done': 40, 'md_steps_goal': 40, 'root_uuid': root.uuid, 'exit_status': 0,
    }
    assert {name: summary[name] for name in expected} == expected
    assert set(summary['phase_wall_s']) == {
        'distillation', 'validation', 'held_out', 'exploration', 'cutout', 'finetuning'
    }
    assert summary['core_force_rmse_after_eV_per_A'] == pytest.approx(0, abs=1e-12)
    # forces are linear in the coefficients: half the coefficients leave half the force
    half = 0.5 * np.sqrt(np.mean(np.square(collected['parity']['reference'])))
    assert summary['core_force_rmse_before_eV_per_A'] == pytest.approx(half, rel=1e-9)
    assert [point['n_dft_calls'] for point in collected['learning']] == [0, 2]
    assert [segment['outcome'] for segment in collected['segments']] == ['halted', 'goal']
    steps = [step for each in collected['segments'] for step in each['step']]
    assert collected['uncertainty']['step'].tolist() == steps
    assert collected['uncertainty']['worst_gamma'][0] == 6.0
    labels = [step['label'] for step in collected['phases']]
    assert labels[4:] == ['round_01_explore', 'round_01_cutout_walker_1', 'round_01_finetune', 'round_02_explore']
    (walker,) = collected['walkers']
    assert (walker['stretches'], walker['halts'], walker['step'], walker['goal']) == (2, 1, 40, 40)
    assert collected['halts'] == [{'round': 1, 'walker': 'walker_1', 'step': 10, 'atom': 3, 'gamma': 6.0}]
    assert [row['what'] for row in collected['notes']] == ['event 1: a bigger core']
    assert collected['settings'] == {'md': {'n_steps': 40, 'timestep_ps': 0.002}, 'seed': 7}


def test_report_is_one_page_with_a_potential_to_run(root, tmp_path):
    summary = write_report(root.pk, tmp_path / 'out')
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert page.count('src="data:image/png;base64,') == 7
    assert 'http' not in page
    assert 'reached its MD goal' in page
    assert 'event 1: a bigger core' in page
    assert json.loads((tmp_path / 'out' / 'summary.json').read_text()) == json.loads(json.dumps(summary))
    script = (tmp_path / 'out' / 'potential' / 'in.lmp').read_text()
    assert 'pair_style pace/extrapolation' in script
    assert '64 atoms' in (tmp_path / 'out' / 'potential' / 'structure.data').read_text()


def test_the_example_recomputes_the_same_numbers(root, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    import recompute

    summary = summarise(collect_run(root.pk))
    again = recompute.recompute(root)
    assert set(again) == set(summary)
    for name, value in again.items():
        tolerance = recompute.TOLERANCE_S if 'wall_s' in name else recompute.TOLERANCE
        assert not recompute.differs(summary[name], value, tolerance), name
    assert recompute.differs(1.0, 1.1, recompute.TOLERANCE)
    assert recompute.differs({'a': 1.0}, {'a': 1.2}, recompute.TOLERANCE_S)
    sys.modules.pop('recompute')


def test_a_run_that_ended_early_is_told_as_such(aiida_profile, tmp_path):
    root = orm.WorkChainNode()
    root.set_process_label('HierarchicalDistillationWorkChain')
    root.base.links.add_incoming(orm.Dict({'n_steps': 40}).store(), LinkType.INPUT_WORK, 'md')
    root.store()
    root.set_process_state('waiting')
    assert write_report(root.pk, tmp_path)['exit_status'] is None
    assert 'not over yet (waiting)' in (tmp_path / 'report.html').read_text()
    root.set_process_state('finished')
    root.set_exit_status(401)
    root.set_exit_message('Phase 1 failed: no potential was made.')
    summary = write_report(root.pk, tmp_path)
    assert summary['exit_status'] == 401
    assert summary['core_force_rmse_after_eV_per_A'] is None
    assert 'ended early: finished [401] Phase 1 failed' in (tmp_path / 'report.html').read_text()
