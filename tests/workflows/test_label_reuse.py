"""Never twice: twins, labels of earlier runs in any order of atoms, what another theory is, and what is never sent."""

import asyncio
from itertools import chain

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida_pseudo.data.pseudo.upf import UpfData
from ase.build import molecule

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.frames import SHELL_CAP, Frames
from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain
from aiida_pyacemaker.workflows.dft.reuse import PW_LABEL_TYPE, find_twin

PSEUDOS = '/usr/share/espresso/pseudo'
CHEAP = {'ecutwfc': 8.0, 'ecutrho': 32.0, 'conv_thr_per_atom': 1e-9}


@pytest.fixture
def pseudos(aiida_profile):
    return {element: UpfData(f'{PSEUDOS}/{element}.pz-vbc.UPF').store() for element in ('Si', 'H')}


@pytest.fixture
def make_builder(pw_code, pseudos, serial_options):
    def make(frames, dft=None, **inputs):
        dataset = AtomicDatasetData.from_frames(frames)
        overrides = {'dft': {**CHEAP, **(dft or {})}}
        builder = DftLabelWorkChain.get_builder_from_protocol(
            pw_code, dataset=dataset, pseudos=pseudos, overrides=overrides, options=serial_options
        )
        for port, value in inputs.items():
            setattr(builder, port, value)
        return builder

    return make


@pytest.fixture
def make_process(make_builder):
    def make(*args, **inputs):
        built = instantiate_process(get_manager().get_runner(), make_builder(*args, **inputs))
        assert built.setup() is None
        return built.ctx

    return make


def silane(seed=0):
    atoms = molecule('SiH4')
    atoms.rattle(0.05, seed=seed)
    atoms.set_cell([6.0] * 3)
    atoms.center()
    return atoms


def near_overlap():
    atoms = silane()
    atoms.positions[2] = atoms.positions[1] + [0.0, 0.0, 0.3]
    return atoms


@pytest.fixture
def labelled(make_builder, finished):
    """A silane, the same again, and a frame with two atoms on top of each other: run once in this session."""
    if not orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': finished.get('labelled', -1)}).count():
        _, node = run_get_node(make_builder(Frames.from_atoms([silane(), near_overlap(), silane()])))
        finished['labelled'] = node.pk
    return orm.load_node(finished['labelled'])


@pytest.mark.dft
def test_twins_are_paid_once_and_bad_frames_never(labelled):
    assert labelled.is_finished_ok, labelled.exit_message
    report = labelled.outputs.report.get_dict()
    assert (report['n_labelled'], report['n_scf'], report['n_failed']) == (2, 1, 1)
    kept_out = labelled.outputs.quarantine
    assert kept_out.base.attributes.get('rows') == [1]
    assert 'atoms 1 and 2 are 0.300 Å apart' in kept_out.base.attributes.get('reasons')[0]
    labels = labelled.outputs.labels.part_000.get_frames()
    assert len(labels) == 2 and np.array_equal(labels.forces[:5], labels.forces[5:])
    assert report['cleaned_MB'] > 0.1


@pytest.mark.dft
def test_a_label_of_another_run_is_served_whatever_the_order_of_its_atoms(labelled, make_builder, make_process):
    order = [3, 0, 4, 1, 2]
    outputs, node = run_get_node(make_builder(Frames.from_atoms([silane()[order]])))
    assert node.is_finished_ok, node.exit_message
    report = outputs['report'].get_dict()
    assert (report['n_scf'], report['n_reused']) == (0, 1)
    assert report['reused'] == [{'row': 0, 'pk': labelled.outputs.report['pks']['0']}]
    old, new = labelled.outputs.labels.part_000.get_frames(), outputs['labels']['part_000'].get_frames()
    assert np.array_equal(new.forces, old.forces[:5][order]) and new.energy[0] == old.energy[0]
    assert len({tuple(row) for row in old.forces[:5]}) == 5, 'equal forces would hide a wrong order'
    creator = outputs['labels']['part_000'].provenance(0).creator
    assert creator.pk in [run.pk for run in orm.load_node(report['pks']['0']).called]

    again = Frames.from_atoms([silane()])
    assert len(make_process(again).reused) == 1
    assert make_process(again, {'reuse_labels': False}).reused == []
    for other in ({'ecutwfc': 9.0}, {'degauss': 0.02}, {'conv_thr_per_atom': 1e-8}):
        assert make_process(again, other).reused == [], other
    charged = again.with_columns(charge=np.array([2.0]))
    assert make_process(charged).reused == []


@pytest.mark.dft
def test_a_flagged_label_is_not_served(labelled, make_process):
    scf = orm.load_node(labelled.outputs.report['pks']['0'])
    scf.base.extras.set('label_flags', ['degauss 0.015 -> 0.035'])
    try:
        assert make_process(Frames.from_atoms([silane()])).reused == []
    finally:
        scf.base.extras.set('label_flags', [])


def test_an_odd_capped_cluster_gets_two_spins_or_is_refused(make_process):
    shell = np.array([0, SHELL_CAP, SHELL_CAP, SHELL_CAP])
    radical = Frames.from_atoms([silane(seed=3)[[0, 1, 2, 3]]], shell=shell)
    assert make_process(radical).refused == []
    refused = make_process(radical, {'odd_electrons': 'refuse'}).refused
    assert refused[0][0] == 0 and '7 electrons are odd without spin in a capped cluster' in refused[0][1]


def test_values_come_first_when_the_budget_is_short(make_process):
    """Equal frames cost the same, so the value decides; without values the order of the input does."""
    frames = Frames.from_atoms([silane(seed) for seed in range(10, 14)])
    ctx = make_process(frames, max_calls=orm.Int(2), values=orm.List([1.0, 5.0, 2.0, 4.0]))
    assert sorted(chain(*ctx.lanes)) == [1, 3] and ctx.lanes[0][0] == 1
    assert sorted(chain(*make_process(frames, max_calls=orm.Int(2)).lanes)) == [0, 1]


def test_an_empty_dataset_means_nothing_to_do(make_builder):
    outputs, node = run_get_node(make_builder(Frames.from_atoms([])))
    assert node.is_finished_ok, node.exit_message
    assert 'labels' not in outputs and outputs['report']['n_requested'] == 0


@pytest.mark.parametrize(
    ('port', 'value', 'words'),
    [
        ('max_calls', orm.Int, 'max_calls = 0'),
        ('max_core_hours', orm.Float, 'max_core_hours = 0.0'),
        ('max_wall_hours', orm.Float, 'max_wall_hours = 0.0'),
    ],
)
def test_a_budget_of_zero_is_refused(make_builder, port, value, words):
    with pytest.raises(ValueError, match=words):
        run_get_node(make_builder(Frames.from_atoms([silane()]), **{port: value(0)}))


def test_mixed_functionals_are_refused(make_builder, pseudos):
    builder = make_builder(Frames.from_atoms([silane()]))
    builder.pw.pseudos = {'Si': pseudos['Si'], 'H': UpfData(f'{PSEUDOS}/H.pbe-kjpaw.UPF').store()}
    with pytest.raises(ValueError, match=r'mixed functionals, expected one .*LDA: Si; PBE: H'):
        run_get_node(builder)


@pytest.mark.dft
def test_a_run_takes_the_nodes_it_was_given(labelled):
    """No copy of the namelists for each run: the first differs in nothing from what was asked."""
    scf = orm.load_node(labelled.outputs.report['pks']['0'])
    run = next(called for called in scf.called if isinstance(called, orm.CalcJobNode))
    assert run.inputs.parameters.pk == scf.inputs.pw.parameters.pk
    assert run.inputs.settings.pk == scf.inputs.pw.settings.pk
    assert 0 < run.inputs.parameters['CONTROL']['max_seconds'] < 600


@pytest.mark.dft
def test_two_labellings_at_once_pay_each_frame_once(make_builder):
    """Both get three frames, in opposite order and one lane each: who comes second waits, and takes the label."""
    frames = [silane(seed) for seed in (21, 22, 23)]
    runner = get_manager().get_runner()
    processes = [
        instantiate_process(runner, make_builder(Frames.from_atoms(each), {'max_concurrent': 1}))
        for each in (frames, frames[::-1])
    ]

    async def both():
        await asyncio.gather(*(process.step_until_terminated() for process in processes))

    runner.loop.run_until_complete(both())
    assert all(process.node.is_finished_ok for process in processes)
    reports = [process.node.outputs.report.get_dict() for process in processes]
    assert [report['n_labelled'] for report in reports] == [3, 3]
    assert sum(report['n_scf'] for report in reports) == 3
    assert sum(report['n_reused'] for report in reports) == 3
    first, second = (process.node.outputs.labels.part_000.get_frames() for process in processes)
    assert np.array_equal(first.energy, second.energy[::-1])


def test_who_is_waited_for(aiida_profile, pw_code):
    """A run in progress, not one that is paused, that another program does, or that has been silent for too long."""
    twin = orm.WorkChainNode(process_type=PW_LABEL_TYPE, label='some key')
    twin.base.links.add_incoming(pw_code, LinkType.INPUT_WORK, 'pw__code')
    twin.store().set_process_state('waiting')
    other = orm.InstalledCode(computer=pw_code.computer, filepath_executable='/bin/true', label='other').store()
    assert find_twin('some key', pw_code, 60.0).pk == twin.pk
    assert find_twin('another key', pw_code, 60.0) is find_twin('some key', other, 60.0) is None
    assert find_twin('some key', pw_code, 0.0) is None
    twin.pause()
    assert find_twin('some key', pw_code, 60.0) is None
    twin.unpause()
    twin.set_process_state('finished')
    twin.set_exit_status(420)
    assert find_twin('some key', pw_code, 60.0) is None
    twin.set_exit_status(0)
    assert find_twin('some key', pw_code, 60.0) is None, 'whether it is flagged is not known'
    twin.base.extras.set('label_flags', [])
    assert find_twin('some key', pw_code, 0.0).pk == twin.pk
