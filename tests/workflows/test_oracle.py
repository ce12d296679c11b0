"""The teacher labels what it is sure of, the reference the rest."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData
from ase.build import bulk
from ase.calculators.lj import LennardJones

from aiida_pyacemaker.calculations.label import LabelCalculation
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.data.teacher import TeacherModelData
from aiida_pyacemaker.science.frames import SHELL_CORE, Frames
from aiida_pyacemaker.science.teacher import label_frames, load_teacher
from aiida_pyacemaker.workflows.oracle import TieredOracleWorkChain, route_frames
from aiida_pyacemaker.workflows.references import check_reference

LENNARD_JONES = {'sigma': 2.0, 'epsilon': 0.1}
CHEAP = {'ecutwfc': 8.0, 'ecutrho': 32.0, 'kpoints_distance': 1.2, 'conv_thr_per_atom': 1e-6, 'max_concurrent': 1}


def cell(amplitude, seed=0):
    atoms = bulk('Si', 'diamond', a=5.43)
    atoms.rattle(amplitude, seed=seed)
    return atoms


def overlapping():
    atoms = cell(0.0)
    atoms.positions[1] = atoms.positions[0] + [0.3, 0, 0]
    return atoms


@pytest.fixture
def make(task_code, teacher):
    def build(structures, threshold, **references):
        builder = TieredOracleWorkChain.get_builder()
        builder.task_code, builder.teacher = task_code, teacher
        builder.dataset = AtomicDatasetData.from_atoms(*structures)
        builder.threshold_eV_per_A = orm.Float(threshold)
        builder.reference = references
        return builder

    return build


@pytest.fixture
def ase_reference(task_code):
    settings = {'calculator': 'lj', 'parameters': LENNARD_JONES, 'force_limit_eV_per_A': 1e6}
    return {'code': task_code, 'settings': orm.Dict(settings)}


def test_each_frame_goes_where_its_uncertainty_says(make, ase_reference, teacher_files):
    """Four frames: mild, hot, overlapping (no teacher labels it, no reference takes it), mild."""
    structures = [cell(0.02), cell(0.4), overlapping(), cell(0.02, seed=1)]
    expected = label_frames(load_teacher(teacher_files), Frames.from_atoms(structures))
    spread = [np.sqrt(np.mean(expected.uncertainty[expected.span(row)] ** 2)) for row in range(4)]
    mild, hot = max(spread[0], spread[3]), spread[1]
    assert 3 * mild < hot  # the committee knows rattled crystals, so the threshold is no close call
    outputs, node = run_get_node(make(structures, float(np.sqrt(mild * hot)), ase=ase_reference))
    assert node.is_finished_ok, node.exit_message
    routing = outputs['routing']
    assert routing.get_array('teacher').tolist() == [0, 3] and routing.get_array('reference').tolist() == [1, 2]
    np.testing.assert_allclose(routing.get_array('uncertainty_eV_per_A'), spread, rtol=1e-6)
    frames, report = outputs['labels']['part_000'].get_frames(), outputs['report'].get_dict()
    assert (report['labelled'], report['n_teacher'], report['n_reference'], report['n_scf']) == ([0, 1, 3], 2, 1, 1)
    assert report['failed'][0]['row'] == 2 and 'allowed: at least 0.5' in report['failed'][0]['reason']
    hot_atoms = structures[1].copy()
    hot_atoms.calc = LennardJones(**LENNARD_JONES)
    energies = [expected.energy[0], hot_atoms.get_potential_energy(), expected.energy[3]]
    np.testing.assert_allclose(frames.energy, energies)
    np.testing.assert_allclose(frames.forces[frames.span(1)], hot_atoms.get_forces(), atol=1e-12)
    assert [frames.theories[row]['kind'] for row in frames.theory_id] == ['teacher', 'dft', 'teacher']
    assert np.allclose(outputs['quarantine'].get_frames().positions, overlapping().positions)
    assert routing.creator.process_label == 'route_frames'
    assert {child.process_label for child in node.called} >= {'LabelCalculation', 'ReferenceCalculation'}


@pytest.mark.dft
def test_dft_is_a_reference_and_its_budget_stops(make, pw_code, serial_options):
    """Nothing is below this threshold, and one SCF is all that may be paid for."""
    silicon = UpfData('/usr/share/espresso/pseudo/Si.pz-vbc.UPF')
    dft = {
        'pw': {'code': pw_code, 'pseudos': {'Si': silicon}},
        'dft': orm.Dict(CHEAP),
        'max_calls': orm.Int(1),
        'options': serial_options,
    }
    outputs, node = run_get_node(make([cell(0.1), cell(0.1, seed=2)], 1e-12, dft=dft))
    assert node.exit_status == 601 and '1 labels are attached' in node.exit_message
    report = outputs['report'].get_dict()
    assert (report['n_teacher'], report['n_scf'], len(report['labelled']), len(report['not_run'])) == (0, 1, 1, 1)
    frames = outputs['labels']['part_000'].get_frames()
    assert frames.theories[0]['code'].startswith('pw.x') and np.isfinite(frames.forces).all()


def test_the_core_decides_where_there_is_one(aiida_profile):
    """Two sure core atoms beside two unsure ones; a frame without a finite label always goes on."""
    cells = [bulk('Si', cubic=True)[:4]] * 3
    frames = Frames.from_atoms(
        cells,
        uncertainty=np.array([0.1, 0.1, 9, 9, 0.1, 0.1, 9, 9, *[np.nan] * 4], dtype=float),
        shell=np.array([SHELL_CORE, SHELL_CORE, 1, 1, *[-1] * 8]),
        label_mask=np.array([3, 3, 0]),
    )
    routing = route_frames(AtomicDatasetData.from_frames(frames), orm.Float(1.0))
    assert routing.get_array('teacher').tolist() == [0] and routing.get_array('reference').tolist() == [1, 2]
    assert routing.get_array('uncertainty_eV_per_A')[1] == pytest.approx(np.sqrt((2 * 0.01 + 2 * 81) / 4))


def test_references_have_one_interface():
    for process in (*TieredOracleWorkChain.REFERENCES.values(), TieredOracleWorkChain):
        assert check_reference(process) is None
    assert 'no dynamic namespace' in check_reference(LabelCalculation)


def test_wrong_inputs_are_refused(make, ase_reference, teacher_files, pw_code):
    with pytest.raises(ValueError, match='reference: none given, need exactly one'):
        run_get_node(make([cell(0.1)], 1.0))
    with pytest.raises(ValueError, match='reference: ase, dft given'):
        pseudos = {'Si': UpfData('/usr/share/espresso/pseudo/Si.pz-vbc.UPF')}
        run_get_node(make([cell(0.1)], 1.0, ase=ase_reference, dft={'pw': {'code': pw_code, 'pseudos': pseudos}}))
    with pytest.raises(ValueError, match=r'threshold_eV_per_A = 0\.0'):
        make([cell(0.1)], 0.0)
    single = TeacherModelData.from_files(teacher_files[:1], source='here', licence='MIT')
    with pytest.raises(ValueError, match='one model has no uncertainty'):
        TieredOracleWorkChain.get_builder().teacher = single
