"""Real SCF runs in lanes: derivatives, order, budget, refusals."""

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData
from ase import Atoms
from ase.build import bulk, molecule

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.config import DftConfig
from aiida_pyacemaker.science.dft import deal_lanes
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain
from aiida_pyacemaker.workflows.dft.ladder import MAX_RUNS
from aiida_pyacemaker.workflows.dft.reuse import PW_LABEL_TYPE
from aiida_pyacemaker.workflows.dft.scf_inputs import (
    find_cutoffs,
    is_norm_conserving,
    scf_parameters,
    starting_magnetisation,
)
from aiida_pyacemaker.workflows.dft.spending import (
    Budget,
    cost_model,
    count_allowed_runs,
    count_scf_runs,
    list_frames,
)
from aiida_pyacemaker.workflows.submission import STILLBORN

PSEUDO_FOLDER = Path('/usr/share/espresso/pseudo')
CHEAP = {'dft': {'ecutwfc': 8.0, 'ecutrho': 32.0, 'kpoints_distance': 1.2, 'conv_thr_per_atom': 1e-9}}


def read_upf(name):
    return UpfData(PSEUDO_FOLDER / name)


@pytest.fixture
def pseudos(aiida_profile):
    return {'Si': read_upf('Si.pz-vbc.UPF').store(), 'H': read_upf('H.pz-vbc.UPF').store()}


@pytest.fixture
def make_builder(pw_code, pseudos, serial_options):
    def make(structures, **inputs):
        dataset = AtomicDatasetData.from_atoms(*structures)
        builder = DftLabelWorkChain.get_builder_from_protocol(
            pw_code, dataset=dataset, pseudos=pseudos, protocol='fast', overrides=CHEAP, options=serial_options
        )
        for port, value in inputs.items():
            setattr(builder, port, value)
        return builder

    return make


def dimer_cell(displacement=0.0, strain=0.0):
    atoms = bulk('Si', 'diamond', a=5.2)
    atoms.positions[1, 0] += 0.1 + displacement
    atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
    return atoms


def silane(scale=1.0):
    atoms = molecule('SiH4')
    atoms.positions *= scale
    atoms.set_cell([6.0] * 3)
    atoms.center()
    return atoms


@pytest.mark.dft
def test_labels_are_derivatives_in_the_order_of_the_input_and_the_budget_stops(make_builder):
    """Between two near cells, dE = -F.dx + V tr(stress) de with the mean force and stress: both signs and units.

    The two steps are small (0.01 Å, 0.2 %), so the rest is of third order; 1 % covers it. The fourth, a squeezed
    silane, has forces beyond the limit: it is set apart with the reason. The fifth is beyond the budget of four SCF
    runs: it is named, and the three labels are attached all the same.
    """
    shift, strain = 0.01, 0.002
    first, second = dimer_cell(), dimer_cell(shift, strain)
    structures = [silane(), first, second, silane(0.6), dimer_cell(0.3)]
    outputs, node = run_get_node(make_builder(structures, max_calls=orm.Int(4)))
    assert node.exit_status == 601 and '1 frames not run' in node.exit_message
    frames, report = outputs['labels']['part_000'].get_frames(), outputs['report'].get_dict()
    assert [len(atoms) for atoms in frames.iter_atoms()] == [5, 2, 2]
    assert np.allclose(frames.positions[5:7], first.positions)
    everything = HAS_ENERGY | HAS_FORCES | HAS_STRESS
    assert frames.label_mask.tolist() == [HAS_ENERGY | HAS_FORCES, everything, everything]
    force = (frames.forces[frames.span(1)] + frames.forces[frames.span(2)])[1, 0] / 2
    work_of_force = -force * shift * (1 + strain)
    volume = (first.get_volume() + second.get_volume()) / 2
    trace = frames.stress[1:, :3].sum() / 2
    expected = work_of_force + volume * trace * np.log1p(strain)
    assert min(abs(work_of_force), abs(volume * trace * strain)) > 0.005  # eV, so neither hides the other
    assert frames.energy[2] - frames.energy[1] == pytest.approx(expected, rel=0.01)
    assert (report['n_scf'], report['labelled'], report['not_run']) == (4, [0, 1, 2], [4])
    assert report['failed'][0]['row'] == 3 and 'largest force' in report['failed'][0]['reason']
    assert np.allclose(outputs['quarantine'].get_frames().positions, silane(0.6).positions)
    check_theory_and_links(outputs['labels']['part_000'], node)


def check_theory_and_links(dataset, node):
    gamma, mesh = dataset.base.attributes.get('theories')
    assert (gamma['kpoints'], mesh['kpoints']) == ('gamma', '1.2 1/A')
    assert gamma['code'].startswith('pw.x 6.') and gamma['ecutrho_Ry'] == 32.0
    assert gamma['pseudos'] == {'H': read_upf('H.pz-vbc.UPF').md5, 'Si': read_upf('Si.pz-vbc.UPF').md5}
    for row in range(3):
        calculation = dataset.provenance(row).creator
        assert calculation.process_type == 'aiida.calculations:quantumespresso.pw'
        assert calculation.inputs.structure.creator.inputs.dataset.uuid == node.inputs.dataset.uuid
    labels = {link.link_label for link in node.base.links.get_outgoing().all()}
    assert {'lane_1', 'lane_2'} <= labels
    lanes = [link.node for link in node.base.links.get_outgoing().all() if link.link_label.startswith('lane_')]
    frames = [link.link_label for lane in lanes for link in lane.base.links.get_outgoing().all()]
    assert sorted(name for name in frames if name.startswith('frame_')) == [f'frame_000{row}' for row in range(4)]


def test_an_element_without_pseudopotential_is_refused_before_anything_runs(make_builder):
    with pytest.raises(ValueError, match=r'pw.pseudos: no Ge; it knows H, Si'):
        run_get_node(make_builder([bulk('Ge', 'diamond', a=5.66)]))


def test_a_wrong_setting_is_refused_by_name(make_builder):
    with pytest.raises(ValueError, match=r'dft.degauss'):
        run_get_node(make_builder([silane()], dft=orm.Dict({'degauss': -1.0})))


def test_unknown_override_is_refused(pw_code, pseudos):
    with pytest.raises(ValueError, match='ecutwfn'):
        DftLabelWorkChain.get_builder_from_protocol(
            pw_code,
            dataset=AtomicDatasetData.from_atoms(silane()),
            pseudos=pseudos,
            overrides={'dft': {'ecutwfn': 3.0}},
        )


def test_lanes_are_balanced_dearest_first():
    lanes = deal_lanes([1.0, 64.0, 27.0, 27.0, 8.0], 2)
    assert lanes == [[1], [2, 3, 4, 0]]
    assert deal_lanes([1.0], 4) == [[0]] and deal_lanes([], 2) == []


def start_frame(parent, n_runs, allowed, *, ended, wall_s=None, work=None):
    """Store a frame's workflow below ``parent`` that may take ``allowed`` SCF runs and has taken ``n_runs``.

    wall_s: what ``pw.x`` says of each; work: relative work of the SCF.
    """
    frame = orm.WorkChainNode(process_type=PW_LABEL_TYPE)
    frame.base.links.add_incoming(parent, LinkType.CALL_WORK, 'frame')
    frame.base.links.add_incoming(orm.Int(allowed).store(), LinkType.INPUT_WORK, 'max_iterations')
    frame.store()
    for number in range(n_runs):
        run = orm.CalcJobNode()
        run.base.links.add_incoming(frame, LinkType.CALL_CALC, f'iteration_{number}')
        run.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 4})
        run.store()
        if wall_s is not None:
            said = orm.Dict({'wall_time_seconds': wall_s})
            said.base.links.add_incoming(run, LinkType.CREATE, 'output_parameters')
            said.store()
    frame.set_process_state('finished' if ended else 'waiting')
    if ended:
        frame.set_exit_status(0)
    if work is not None:
        frame.base.extras.set('scf_work', work)


def test_core_hours_of_all_lanes_and_the_cost_of_what_runs_count(aiida_profile, monkeypatch):
    """Four finished runs of 10 s on 4 cores each; the refitted model knows what the one in progress will take."""
    monkeypatch.setattr('aiida_pyacemaker.workflows.dft.spending.NEWEST_RUNS', 4)
    root, lane = orm.WorkChainNode().store(), orm.WorkChainNode()
    lane.base.links.add_incoming(root, LinkType.CALL_WORK, 'lane_1')
    lane.store()
    for _ in range(4):
        start_frame(lane, 1, 8, ended=True, wall_s=10.0, work=1e9)
    assert cost_model().predict(1e9) == pytest.approx(40.0) and cost_model().n_runs == 4
    assert Budget(max_core_s=210.0).why_not(root, 1e9) is None  # 160 s paid, 40 more
    assert Budget(max_core_s=190.0).why_not(root, 1e9).startswith('the budget of')
    start_frame(lane, 0, 8, ended=False, work=1e9)
    assert Budget(max_core_s=210.0).why_not(root, 1e9).startswith('the budget of')
    assert Budget(max_core_s=210.0).why_not(root, 1e7) is None, 'a cheap frame still fits'
    assert Budget(max_calls=5).why_not(root, 1e9) == 'the budget of 5 SCF runs is spent'
    assert Budget(max_calls=6).why_not(root, 1e9) is None
    assert Budget(max_wall_s=3600.0).why_not(root, 1e9) is None
    assert 'wall time is spent' in Budget(max_wall_s=1e-9).why_not(root, 1e9)


def test_lanes_side_by_side_never_spend_more_than_the_budget(aiida_profile):
    """Of six runs for four frames two are spare: who may climb holds them until it has ended."""
    root, lane = orm.WorkChainNode().store(), orm.WorkChainNode()
    lane.base.links.add_incoming(root, LinkType.CALL_WORK, 'lane_1')
    lane.store()

    def allowed(max_calls):
        return count_allowed_runs(list_frames(root), 4, max_calls)

    assert allowed(6) == 3
    start_frame(lane, 1, 3, ended=False)
    assert allowed(6) == 1
    start_frame(lane, 2, 2, ended=True)
    assert (allowed(6), allowed(7)) == (1, 1)
    assert allowed(9) == 3
    start_frame(lane, 0, 8, ended=True)
    assert count_scf_runs(list_frames(root)) == 3
    assert count_allowed_runs([], 2, 100) == MAX_RUNS


def test_cutoffs_come_from_the_settings_else_from_the_family(pseudos):
    from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily

    assert find_cutoffs(DftConfig(ecutwfc=20.0), pseudos) == (20.0, 80.0)
    assert find_cutoffs(DftConfig(), pseudos) is None
    family = CutoffsPseudoPotentialFamily(label='vbc').store()
    family.add_nodes(list(pseudos.values()))
    cutoffs = {'Si': {'cutoff_wfc': 16.0, 'cutoff_rho': 64.0}, 'H': {'cutoff_wfc': 22.0, 'cutoff_rho': 60.0}}
    family.set_cutoffs(cutoffs, 'standard', unit='Ry')
    family.set_default_stringency('standard')
    assert find_cutoffs(DftConfig(), pseudos) == (22.0, 64.0)


def test_norm_conserving_is_read_from_the_file():
    kinds = {'Si.pz-vbc.UPF': True, 'H.pz-vbc.UPF': True, 'Cu.pbe-kjpaw.UPF': False, 'C.pbe-van_bm.UPF': False}
    for name, wanted in kinds.items():
        element = name.split('.')[0]
        content = (PSEUDO_FOLDER / name).read_text()
        assert is_norm_conserving(type('Upf', (), {'get_content': lambda self, text=content: text})()) == wanted, (
            element
        )


def test_spin_stress_and_smearing_follow_the_design():
    iron = scf_parameters(bulk('Fe'), DftConfig(), (30.0, 240.0), {'ELECTRONS': {'mixing_beta': 0.2}})
    assert iron['SYSTEM']['nspin'] == 2 and 'Fe' in iron['SYSTEM']['starting_magnetization']
    assert iron['CONTROL']['tstress'] and iron['SYSTEM']['smearing'] == 'mv'
    assert iron['ELECTRONS']['mixing_beta'] == 0.2 and iron['ELECTRONS']['conv_thr'] == pytest.approx(2e-8)
    cluster = scf_parameters(silane(), DftConfig(), (16.0, 64.0))
    assert 'nspin' not in cluster['SYSTEM'] and len(Frames.from_atoms([silane()])) == 1
    cluster = scf_parameters(molecule('SiH4'), DftConfig(), (16.0, 64.0))
    assert cluster['SYSTEM']['smearing'] == 'gaussian' and not cluster['CONTROL']['tstress']
    assert cluster['ELECTRONS']['mixing_beta'] == 0.3


def test_a_cluster_of_fractional_caps_gets_two_spins_only_where_a_shell_is_open():
    atoms = Atoms('GaH4', positions=[[0, 0, 0], [1, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1]], tags=[0, *[31] * 4])
    valence = {'Ga': 3.0, 'H31': 1.2499}
    assert starting_magnetisation(atoms, valence) == {}
    assert set(starting_magnetisation(atoms[:4], valence)) == {'Ga', 'H31'}


def test_what_died_before_it_could_run_stands_for_no_frame_and_costs_nothing(aiida_profile, localhost):
    """A step that was killed leaves a child that is set aside under the label of the one that counts."""
    root = orm.WorkChainNode().store()
    asked, frames = orm.Int(3).store(), []
    for status in (STILLBORN, None, STILLBORN):
        frame = orm.WorkChainNode(process_type=PW_LABEL_TYPE)
        frame.base.links.add_incoming(root, LinkType.CALL_WORK, 'frame_00000')
        frame.base.links.add_incoming(asked, LinkType.INPUT_WORK, 'max_iterations')
        run = orm.CalcJobNode(computer=localhost)
        run.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        run.base.links.add_incoming(frame.store(), LinkType.CALL_CALC, 'iteration_01')
        run.store().set_process_status(STILLBORN)
        frame.set_process_state('killed' if status else 'running')
        frame.set_process_status(status)
        frames.append(frame)
    (found,) = list_frames(root)
    assert (found.pk, found.core_seconds, found.is_over) == (frames[1].pk, (), False)
