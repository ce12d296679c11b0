"""What a committee says: physics first."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.eos import EquationOfState
from ase.units import GPa
from mace.calculators import MACECalculator

from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from aiida_pyacemaker.science.teacher import label_frames, load_teacher, teacher_calculator, teacher_descriptors
from aiida_pyacemaker.science.teacher.batches import split_batches
from aiida_pyacemaker.science.teacher.mace import batch_that_suits, load_module


def test_the_mean_of_the_committee_is_what_mace_itself_says(models, teacher, frames, structures):
    labelled = label_frames(teacher, frames)
    for index, atoms in enumerate(structures):
        answers = []
        for path in models:
            calculator = MACECalculator(model_paths=[str(path)], device='cpu', default_dtype='float64')
            calculator.calculate(atoms)
            answers.append(calculator.results)
        forces = np.array([answer['forces'] for answer in answers])
        rows = labelled.span(index)
        np.testing.assert_allclose(labelled.energy[index], np.mean([answer['energy'] for answer in answers]), atol=1e-6)
        np.testing.assert_allclose(labelled.forces[rows], forces.mean(axis=0), atol=1e-6)
        spread = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))
        np.testing.assert_allclose(labelled.uncertainty[rows], spread, atol=1e-6)
        if atoms.pbc.all():
            stress = np.mean([answer['stress'] for answer in answers], axis=0)
            np.testing.assert_allclose(labelled.stress[index], stress, atol=1e-8)
        else:
            assert np.isnan(labelled.stress[index]).all()
    assert [mask & HAS_STRESS > 0 for mask in labelled.label_mask] == list(frames.pbc.all(axis=1))
    assert (labelled.label_mask & (HAS_ENERGY | HAS_FORCES) == HAS_ENERGY | HAS_FORCES).all()


def test_a_wide_model_is_asked_about_fewer_atoms_at_once(models):
    narrow = load_module(models[0], dtype='float64', device='cpu')
    message = SimpleNamespace(irreps_out=SimpleNamespace(dim=5120))
    wide = SimpleNamespace(interactions=[SimpleNamespace(conv_tp=message)])
    assert batch_that_suits([narrow]) == 400
    assert batch_that_suits([narrow, wide]) == 32  # the widest of a committee decides


def test_how_frames_are_batched_changes_nothing(teacher, frames):
    one, many = label_frames(teacher, frames, batch_atoms=1), label_frames(teacher, frames, batch_atoms=10_000)
    for name, tolerance in (('energy', 1e-9), ('forces', 1e-9), ('stress', 1e-11), ('uncertainty', 1e-9)):
        np.testing.assert_allclose(getattr(one, name), getattr(many, name), atol=tolerance, rtol=0)
    backwards = label_frames(teacher, frames.select(np.arange(len(frames))[::-1]))
    np.testing.assert_allclose(backwards.energy[::-1], one.energy, atol=1e-9)


def test_batches_cover_all_frames_once_in_order():
    parts = list(split_batches([5, 5, 30, 1, 1, 1, 9], 10))
    assert parts == [slice(0, 2), slice(2, 3), slice(3, 6), slice(6, 7)]
    assert list(split_batches([], 10)) == []


def test_forces_and_stress_are_derivatives_of_the_energy(teacher):
    atoms = bulk('Si', a=5.4)
    atoms.positions[1] += (0.05, -0.03, 0.1)
    step = 1e-4

    def energy(moved: Atoms) -> float:
        return float(label_frames(teacher, Frames.from_atoms([moved])).energy[0])

    labelled = label_frames(teacher, Frames.from_atoms([atoms]))
    values = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * step
        strained = atoms.copy()
        deformation = np.eye(3)
        deformation[0, 1] = deformation[1, 0] = sign * step / 2
        strained.set_cell(atoms.cell[:] @ deformation, scale_atoms=True)
        values.append((energy(moved), energy(strained)))
    numeric = (np.array(values[0]) - values[1]) / (2 * step)
    # central differences: error O(step²) times a third derivative of about 100 eV/Å³
    assert labelled.forces[1, 2] == pytest.approx(-numeric[0], abs=1e-5)
    assert labelled.stress[0, 5] * atoms.cell.volume == pytest.approx(numeric[1], abs=1e-5)


def test_energies_and_uncertainties_do_not_turn_with_the_crystal(teacher, structures):
    turned = structures[0].copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    labelled = label_frames(teacher, Frames.from_atoms([structures[0], turned]))
    assert labelled.energy[0] == pytest.approx(labelled.energy[1], abs=1e-8)
    np.testing.assert_allclose(labelled.uncertainty[:8], labelled.uncertainty[8:], atol=1e-8)


def test_shipped_silicon_is_near_its_labeller(teacher):
    """CHGNet 0.3.0 itself: a0 = 5.470 Å; its C11 + 2 C12 gives a soft 46 GPa, experiment 98 GPa."""
    lengths = np.linspace(5.3, 5.65, 9)
    labelled = label_frames(teacher, Frames.from_atoms([bulk('Si', a=length) for length in lengths]))
    volume, _, modulus = EquationOfState(lengths**3 / 4, labelled.energy).fit()
    assert (4 * volume) ** (1 / 3) == pytest.approx(5.470, rel=0.01)
    assert 30 < modulus / GPa < 130


def test_the_committee_is_less_sure_far_from_silicon(teacher):
    rng = np.random.default_rng(2)
    crystal = bulk('Si', a=5.46, cubic=True)
    means = []
    for amplitude in (0.03, 0.5):
        shaken = []
        for _ in range(5):
            atoms = crystal.copy()
            atoms.positions += rng.normal(0, amplitude, atoms.positions.shape)
            shaken.append(atoms)
        means.append(label_frames(teacher, Frames.from_atoms(shaken)).uncertainty.mean())
    assert means[1] > 3 * means[0] > 0


def test_a_frame_that_is_not_finite_stays_in_its_place_without_labels(teacher, structures):
    broken = structures[0].copy()
    broken.positions[3] = np.nan
    doubled = structures[0].copy()
    doubled.positions[3] = doubled.positions[2]
    labelled = label_frames(teacher, Frames.from_atoms([structures[0], broken, doubled, structures[0]]))
    assert labelled.label_mask[1] == 0 and labelled.theory_id[1] == -1
    assert np.isnan(labelled.energy[1]) and np.isnan(labelled.forces[labelled.span(1)]).all()
    assert np.isfinite(labelled.energy[[0, 3]]).all() and labelled.label_mask[3] == 7
    assert labelled.label_mask[2] == 0 or np.isfinite(labelled.forces[labelled.span(2)]).all()


def test_one_model_has_no_uncertainty_and_unknown_elements_are_named(models, frames):
    alone = load_teacher(models[0])
    assert alone.n_members == 1 and alone.elements == ('H', 'Si')
    assert (label_frames(alone, frames).uncertainty == 0).all()
    with pytest.raises(ValueError, match=r'knows H, Si, not Cu, Fe'):
        label_frames(alone, Frames.from_atoms([bulk('Fe'), bulk('Cu')]))


def test_an_empty_set_of_frames_has_empty_labels(teacher):
    assert len(label_frames(teacher, Frames.from_atoms([]))) == 0
    assert teacher_descriptors(teacher, Frames.from_atoms([])).shape[0] == 0


def test_columns_and_theory_travel(models, teacher, frames):
    weighted = frames.with_columns(config_type=np.array(list('abcde')), gamma=np.arange(frames.n_atoms) * 1.0)
    labelled = label_frames(teacher, weighted)
    assert list(labelled.config_type) == list('abcde')
    np.testing.assert_array_equal(labelled.gamma, weighted.gamma)
    assert labelled.theories[0]['kind'] == 'teacher' and labelled.theories[0]['digest'] == teacher.digest
    assert load_teacher(models[::-1]).digest != teacher.digest


def test_calculator_equals_labels_and_refuses_stress_without_a_volume(teacher, structures, frames):
    labelled = label_frames(teacher, frames)
    for index, atoms in enumerate(structures):
        asked = atoms.copy()
        asked.calc = teacher_calculator(teacher)
        assert asked.get_potential_energy() == pytest.approx(labelled.energy[index], abs=1e-9)
        np.testing.assert_allclose(asked.get_forces(), labelled.forces[labelled.span(index)], atol=1e-9)
        if atoms.pbc.all():
            np.testing.assert_allclose(asked.get_stress(), labelled.stress[index], atol=1e-11)
        else:
            with pytest.raises(PropertyNotImplementedError, match='fully periodic'):
                asked.get_stress()


def test_descriptors_are_the_mean_of_maces_own(models, teacher, frames, structures):
    features = teacher_descriptors(teacher, frames, batch_atoms=20)
    calculator = MACECalculator(model_paths=[str(models[0])], device='cpu', default_dtype='float64')
    expected = np.array([calculator.get_descriptors(atoms).mean(axis=0) for atoms in structures])
    np.testing.assert_allclose(features, expected, atol=1e-9)


def test_batches_are_not_slower_than_a_loop(models):
    rng = np.random.default_rng(3)
    shaken = []
    for _ in range(24):
        atoms = bulk('Si', a=5.46, cubic=True) * (2, 1, 1)
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        shaken.append(atoms)
    frames, alone = Frames.from_atoms(shaken), load_teacher(models[0])
    calculator = MACECalculator(model_paths=[str(models[0])], device='cpu', default_dtype='float64')
    label_frames(alone, frames)
    calculator.calculate(shaken[0])
    start = time.process_time()
    label_frames(alone, frames)
    batched = time.process_time() - start
    start = time.process_time()
    for atoms in shaken:
        calculator.calculate(atoms)
    assert batched < time.process_time() - start
