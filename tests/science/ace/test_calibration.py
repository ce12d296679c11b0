"""Calibration of γ: quantiles, coverage on what comes later, and what it cannot promise."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.ace.blocks import make_fit_block
from aiida_pyacemaker.science.ace.calibration import (
    GradedErrors,
    batch_coverage,
    calibrate_gamma,
    calibrated_thresholds,
    calibration_report,
    conformal_quantile,
    graded_errors,
    judge_in_order,
)
from aiida_pyacemaker.science.ace.fit import solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.config import ActiveLearningThresholds, FitConfig
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.student import Student


def atoms_whose_error_grows(count, seed, *, scale=0.1):
    """Errors are γ times the length of a normal vector: the 95 % quantile at γ is 2.7955 γ scale."""
    rng = np.random.default_rng(seed)
    gamma = rng.lognormal(0.0, 0.7, count)
    return GradedErrors(gamma=gamma, errors=scale * gamma * np.linalg.norm(rng.normal(size=(count, 3)), axis=1))


def test_quantile_is_the_one_of_split_conformal_prediction():
    values = np.arange(1.0, 20.0)  # 19 atoms: 95 % of 20 is the 19th
    assert conformal_quantile(values, 0.95) == 19.0
    assert conformal_quantile(values[:-1], 0.95) == np.inf  # 18 atoms know no 95 % quantile
    assert conformal_quantile(values, 0.5) == 10.0


def test_bounds_follow_the_errors_of_each_bin():
    calibration = calibrate_gamma(atoms_whose_error_grows(20_000, 1))
    assert calibration.counts.sum() == 20_000 and np.ptp(calibration.counts) <= 2 and len(calibration.counts) == 8
    edges = calibration.edges
    assert (np.diff(calibration.bounds) > 0).all()
    for low, high, bound in zip(edges[1:-2], edges[2:-1], calibration.bounds[1:-1], strict=True):
        assert 0.27955 * low < bound < 0.27955 * high
    assert calibration.bound([edges[3], np.inf, 1e9]).tolist() == [calibration.bounds[2], np.inf, np.inf]


def test_threshold_is_where_the_bound_reaches_the_error():
    calibration = calibrate_gamma(atoms_whose_error_grows(20_000, 1))
    place = 4
    assert calibration.threshold(calibration.bounds[place]) == calibration.edges[place + 1]
    assert calibration.threshold(0.0) == 0.0
    assert calibration.threshold(np.inf) == calibration.edges[-1]


def test_few_atoms_make_few_bins_and_too_few_no_bound():
    assert len(calibrate_gamma(atoms_whose_error_grows(130, 2)).counts) == 3
    poor = calibrate_gamma(atoms_whose_error_grows(10, 2))
    assert poor.bounds.tolist() == [np.inf] and poor.threshold(1.0) == 0.0


def test_batches_of_one_kind_are_covered_as_promised():
    batches = [atoms_whose_error_grows(1000, seed) for seed in range(8)]
    result = judge_in_order(batches, error_eV_per_A=0.3)
    assert np.isnan(result.covered[0]) and result.thresholds[0] == 0.0
    # 7000 judged atoms: three standard deviations of a binomial, and one atom in a thousand beyond the last edge
    assert result.overall == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 7000) + 0.002)
    assert (result.n_unbounded[1:] < 10).all() and result.n_unbounded[0] == 1000
    assert 0.27955 * result.thresholds[-1] < 0.3


def test_a_shift_is_reported_not_hidden():
    batches = [atoms_whose_error_grows(500, seed) for seed in range(3)]
    batches += [atoms_whose_error_grows(500, 9, scale=0.3)] * 2
    result = judge_in_order(batches, error_eV_per_A=0.3)
    assert result.covered[3] < 0.7 < 0.9 < result.covered[2]
    assert result.covered[4] > result.covered[3] and result.thresholds[4] < result.thresholds[3]


def test_infinite_grades_are_never_bounded_and_wrong_input_is_refused():
    known = GradedErrors(gamma=[1.0] * 60 + [np.inf], errors=[0.1] * 61)
    calibration = calibrate_gamma(known)
    assert calibration.counts.sum() == 60 and calibration.bound([np.inf])[0] == np.inf
    with pytest.raises(ValueError, match='no labelled atom with a finite γ'):
        calibrate_gamma(GradedErrors(gamma=[np.inf], errors=[1.0]))
    for gamma, errors, message in (
        ([np.nan], [0.1], 'gamma holds NaN'),
        ([1.0], [np.nan], 'errors hold NaN'),
        ([1.0, 2.0], [0.1], 'one of each an atom'),
    ):
        with pytest.raises(ValueError, match=message):
            GradedErrors(gamma=gamma, errors=errors)
    with pytest.raises(ValueError, match=r'level is 1\.5'):
        calibrate_gamma(known, level=1.5)


def copper(amplitude, seed, count=4):
    """Rattled copper with the forces of effective medium theory."""
    structures, energies, forces = [], [], []
    for index in range(count):
        atoms = bulk('Cu', a=3.61, cubic=True) * (2, 2, 2)
        atoms.rattle(amplitude, seed=100 * seed + index)
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        structures.append(atoms)
    return Frames.from_atoms(
        structures, energy=energies, forces=np.concatenate(forces), label_mask=np.full(count, 3, dtype='u1')
    )


@pytest.fixture(scope='module')
def copper_student():
    config = FitConfig(number_of_functions_per_element=25, cutoff=5.0)
    baseline = fit_baseline(['Cu'], 'ZBL')
    potential = build_potential(['Cu'], config, bond_length=2.55)
    weights = RowWeights.from_config(config)
    block = make_fit_block(copper(0.08, 1), potential, name='pool', baseline=baseline, weights=weights)
    fitted = solve_blocks([block], potential, factors={})
    return Student(potential=fitted.potential, active_set=fitted.active_set, baseline=baseline)


def test_copper_is_covered_where_labels_are_of_one_kind_and_grades_rise_where_it_is_hotter(copper_student):
    batches = [graded_errors(copper(0.08, seed), copper_student) for seed in (2, 3, 4, 5)]
    result = judge_in_order(batches, error_eV_per_A=0.05)
    assert result.overall > 0.9
    hot = graded_errors(copper(0.3, 6), copper_student)
    assert np.median(hot.gamma) > 3 * np.median(batches[0].gamma)
    assert np.median(hot.errors) > 3 * np.median(batches[0].errors)
    judged = judge_in_order([*batches, hot], error_eV_per_A=0.05)
    assert judged.n_unbounded[-1] > 0.5 * judged.n_atoms[-1]  # γ says that nothing is known there


def test_only_labelled_atoms_with_weight_count(copper_student):
    frames = copper(0.08, 2, count=2)
    weights = np.ones(frames.n_atoms)
    weights[:20] = 0.0
    masked = frames.with_columns(force_weight=weights, label_mask=np.array([3, 0], dtype='u1'))
    assert len(graded_errors(masked, copper_student).gamma) == 12
    with pytest.raises(ValueError, match='no active set'):
        graded_errors(frames, Student(potential=copper_student.potential))


def test_a_force_error_becomes_a_threshold_with_the_coverage_asked_for():
    """Errors grow with γ: a bigger target allows a bigger γ, and what is below call keeps it as often as asked."""
    rng = np.random.default_rng(3)

    def draw(count):
        gamma = rng.uniform(0.2, 8.0, count)
        return GradedErrors(gamma=gamma, errors=0.02 * gamma * np.abs(rng.normal(size=count)))

    known, later = draw(4000), draw(20_000)
    calls = []
    for target in (0.1, 0.2, 0.3):
        rule = ActiveLearningThresholds(target_force_error=target, coverage=0.9)
        found = calibrated_thresholds(rule, calibration_report(known, level=0.9))
        calls.append(found.threshold_call_dft)
        assert found.threshold_add_train == pytest.approx(max(1.0, 0.4 * calls[-1]))
        assert found.threshold_danger == pytest.approx(2 * calls[-1])
        judged = batch_coverage(later, found)
        assert judged['covered'] >= 0.9
        assert judged['n_at_or_below_call'] == np.count_nonzero(later.gamma <= calls[-1])
    assert calls == sorted(calls) and calls[0] > 1
    assert ActiveLearningThresholds.model_validate(found.model_dump()) == found


def test_a_target_that_no_grade_keeps_is_refused_and_so_is_a_missing_set():
    rule = ActiveLearningThresholds(target_force_error=0.01)
    known = GradedErrors(gamma=np.linspace(0.1, 4.0, 400), errors=np.full(400, 0.2))
    with pytest.raises(ValueError, match=r'target_force_error = 0\.01.*up to γ = 0\.00 only.*0\.200'):
        calibrated_thresholds(rule, calibration_report(known))
    with pytest.raises(ValueError, match='no held-out atoms'):
        calibrated_thresholds(rule, None)


def test_a_shift_shows_as_a_coverage_below_the_one_aimed_at():
    rule = ActiveLearningThresholds(target_force_error=0.1)
    hot = GradedErrors(gamma=np.full(200, 3.0), errors=np.repeat([0.05, 0.5], 100))
    judged = batch_coverage(hot, rule)
    assert (judged['covered'], judged['coverage_aimed_at'], judged['n_at_or_below_call']) == (0.5, 0.95, 200)
    nothing = batch_coverage(GradedErrors(gamma=np.full(3, 9.0), errors=np.ones(3)), rule)
    assert nothing['covered'] is None and nothing['n_at_or_below_call'] == 0
