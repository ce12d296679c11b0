"""Training geometry, relaxation and acceptance with a real student and the shipped teachers."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes

from aiida_pyacemaker.science.ace import build_potential, evaluate
from aiida_pyacemaker.science.config import CutoutConfig, FitConfig
from aiida_pyacemaker.science.cutout import RejectedCutoutError, Workbench, cut_out
from aiida_pyacemaker.science.cutout.acceptance import check_label_geometry, check_training_geometry, evaluate_frame
from aiida_pyacemaker.science.cutout.label_geometry import CutRequest, LabelGeometry
from aiida_pyacemaker.science.cutout.policies.covalent import cut_covalent
from aiida_pyacemaker.science.cutout.relaxation import relax_boundary
from aiida_pyacemaker.science.cutout.theory import LabelTheory
from aiida_pyacemaker.science.cutout.training_geometry import build_training_geometry
from aiida_pyacemaker.science.frames import SHELL_BUFFER, SHELL_CAP, SHELL_CORE
from aiida_pyacemaker.science.images import index_frame
from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

CONFIG = CutoutConfig(core_radius=0.0)
SOFT = CutoutConfig(core_radius=0.0, relax_buffer=True)


@pytest.fixture(scope='module')
def potential():
    empty = build_potential(['Si'], FitConfig(number_of_functions_per_element=40, cutoff=4.5))
    return empty.with_coefficients(np.random.default_rng(3).normal(size=sum(empty.n_functions)))


@pytest.fixture(scope='module')
def calculator(teacher_files):
    return teacher_calculator(load_teacher(teacher_files))


def build_label_geometry(frame, epicentre, config):
    request = CutRequest(frame=index_frame(frame), epicentre=epicentre, config=config, theory=LabelTheory())
    return cut_covalent(request)


def hot_silicon(repeat, seed=0):
    atoms = bulk('Si', 'diamond', a=5.43, cubic=True) * (repeat, repeat, repeat)
    atoms.positions += np.random.default_rng(seed).normal(scale=0.1, size=atoms.positions.shape)
    return atoms


def test_twice_the_cutoff_is_exact_and_once_is_not(potential):
    """A core force holds its neighbours' energies: with 2 r_cut it is exact to round-off, with r_cut it is wrong."""
    frame = hot_silicon(5)
    core = np.array([77])
    student = evaluate_frame(frame, potential)
    forces = student.forces
    exact = build_training_geometry(index_frame(frame), 77, core, cutoff_A=potential.cutoff)
    assert not exact.is_whole_frame and len(exact.atoms) < len(frame) // 4
    report = check_training_geometry(index_frame(frame), exact, potential, student=student)
    assert report['core_force_error_eV_per_A'] < 1e-9 and report['core_projection_error'] < 1e-8
    short = build_training_geometry(index_frame(frame), 77, core, cutoff_A=potential.cutoff / 2)
    row = int(np.flatnonzero(short.shell == SHELL_CORE)[0])
    assert np.abs(evaluate(potential, short.atoms).forces[row] - forces[77]).max() > 1e-2
    with pytest.raises(RejectedCutoutError, match='differs from the frame'):
        check_training_geometry(index_frame(frame), short, potential, student=student)


def test_a_core_of_several_atoms_is_exact_too(potential):
    frame = hot_silicon(5, seed=2)
    near = frame.get_distances(300, range(len(frame)), mic=True)
    core = np.flatnonzero(near < 2.9)
    training = build_training_geometry(index_frame(frame), 300, core, cutoff_A=potential.cutoff)
    report = check_training_geometry(index_frame(frame), training, potential, student=evaluate_frame(frame, potential))
    assert (training.shell == SHELL_CORE).sum() == len(core) > 3
    assert report['core_force_error_eV_per_A'] < 1e-9


def test_small_frame_is_taken_whole_and_untouched(potential):
    frame = hot_silicon(2)
    training = build_training_geometry(index_frame(frame), 3, np.array([3]), cutoff_A=potential.cutoff)
    assert training.is_whole_frame and training.atoms == frame
    assert np.array_equal(training.parents, np.arange(64)) and np.flatnonzero(
        training.shell == SHELL_CORE
    ).tolist() == [3]


def test_by_default_only_the_caps_move(potential, calculator):
    """The core's force depends on its second shell, so that stays as MD had it."""
    frame = hot_silicon(2)
    cutout = cut_out(Workbench.prepare(frame, potential, calculator), 11, CONFIG)
    raw = build_label_geometry(frame, 11, CONFIG)
    moved = np.linalg.norm(cutout.label.atoms.positions - raw.atoms.positions, axis=1)
    assert moved[raw.shell != SHELL_CAP].max() == 0.0 < moved[raw.shell == SHELL_CAP].max()


def test_relaxation_moves_only_the_boundary_and_little(potential, calculator):
    frame = hot_silicon(2)
    cutout = cut_out(Workbench.prepare(frame, potential, calculator), 11, SOFT)
    raw = build_label_geometry(frame, 11, CONFIG)
    moved = np.linalg.norm(cutout.label.atoms.positions - raw.atoms.positions, axis=1)
    free = np.isin(raw.shell, (SHELL_BUFFER, SHELL_CAP))
    assert moved[~free].max() == 0.0
    assert moved[raw.shell == SHELL_BUFFER].max() <= CONFIG.max_displacement
    relaxation = cutout.report['relaxation']
    assert relaxation['max_force_after_eV_per_A'] < 0.2 * relaxation['max_force_before_eV_per_A']
    assert cutout.report['label']['core_force_shift_eV_per_A'] < 1.0


def test_displacement_limit_stops_the_relaxation_and_says_so(potential, calculator):
    tight = CutoutConfig(core_radius=0.0, max_displacement=0.02, relax_buffer=True)
    cutout = cut_out(Workbench.prepare(hot_silicon(2), potential, calculator), 11, tight)
    assert cutout.report['relaxation']['stopped'] == 'displacement'
    assert cutout.report['relaxation']['max_displacement_A'] <= 0.02


class Pull(Calculator):
    """A spring of 1 eV/Å² between the last atom and a place."""

    implemented_properties = ('energy', 'forces')

    def __init__(self, towards):
        super().__init__()
        self.towards = np.asarray(towards)

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        gap = self.towards - atoms.positions[-1]
        forces = np.zeros((len(atoms), 3))
        forces[-1] = gap
        self.results = {'energy': float(gap @ gap) / 2, 'forces': forces}


def test_a_cap_that_would_bind_to_a_second_atom_stops_the_relaxation():
    """The host is 1.4 Å away, the other silicon 2.46; a cap is free to move by 0.3 Å, 1.6 covalent sums are 2.27 Å."""
    places = np.array([[0.0, 0, 0], [0, 3.25, 0], [1.0, 1.0, 0]])
    shell = np.array([SHELL_CORE, SHELL_BUFFER, SHELL_CAP], dtype=np.int8)
    geometry = LabelGeometry(
        atoms=Atoms('Si2H', positions=places),
        policy='covalent',
        shell=shell,
        parents=np.array([0, 1, -1]),
        boundary=shell == SHELL_CAP,
        report={},
    )
    found = relax_boundary(geometry, Pull(places[1]), CONFIG)
    assert found.report['stopped'] == 'second bond'
    assert 2.26 < np.linalg.norm(found.positions[2] - places[1]) < 2.46
    away = relax_boundary(geometry, Pull([9.0, 1.0, 0]), CONFIG)
    assert away.report['stopped'] == 'displacement'


def test_overlap_is_rejected():
    geometry = build_label_geometry(hot_silicon(2), 0, CONFIG)
    atoms = geometry.atoms.copy()
    atoms.positions[-1] = atoms.positions[0] + 0.5
    with pytest.raises(RejectedCutoutError, match='covalent sum'):
        check_label_geometry(replace(geometry, atoms=atoms), None, frame_forces=None)
