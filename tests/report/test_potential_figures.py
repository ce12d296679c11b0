"""Figures of a potential: what is drawn, with which words and units."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from aiida_pyacemaker.report import potential_figures as figures
from aiida_pyacemaker.report.figures import ALARM, CALM
from aiida_pyacemaker.science.ace.calibration import GammaCalibration, GradedErrors, PrequentialCoverage
from aiida_pyacemaker.science.curves import DecohesionCurve, PairCurve, TrimerCurve


@pytest.fixture
def ax():
    return Figure().add_subplot()


def words(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_pairs_are_lines_in_a_window_around_the_well(ax):
    distances = np.array([1.0, 2.0, 3.0])
    curves = [
        PairCurve(pair=pair, distances=distances, energies=np.array([90.0, depth, 0.0]), forces=np.zeros(3))
        for pair, depth in (('Al-Al', -1.0), ('Al-Ni', -2.0))
    ]
    figures.draw_pair_curves(ax, curves)
    assert words(ax) == ['Al-Al', 'Al-Ni']
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[1, 90], [2, -2], [3, 0]])
    assert ax.get_ylim() == pytest.approx((-2.4, 6.0))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ('distance (Å)', 'energy of the pair (eV)')


def test_trimers_and_the_cut_are_drawn_as_given(ax):
    points, energies = np.array([60.0, 90.0]), np.array([1.0, 2.0])
    trimer = TrimerCurve(trimer='Al-Ni-Al', bond_length=2.5, angles=points, energies=energies)
    figures.draw_trimer_curves(ax, [trimer])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[60, 1], [90, 2]])
    assert words(ax) == ['Al-Ni-Al, 2.50 Å'] and ax.get_xlabel() == 'angle (degrees)'
    other = Figure().add_subplot()
    curve = DecohesionCurve(
        crystal='Cu4', openings=np.array([0.0, 3.0]), energies=np.array([0.0, 3.1]), tractions=np.zeros(2)
    )
    figures.draw_decohesion(other, curve)
    np.testing.assert_allclose(other.lines[0].get_xydata(), [[0, 0], [3, 3.1]])
    assert (other.get_xlabel(), other.get_ylabel()) == ('opening (Å)', 'energy of the cut (J/m²)')


def test_histogram_counts_every_finite_grade_and_names_the_others(ax):
    grades = {'pool': np.array([0.0, 0.5, 0.9]), 'hot': np.array([7.0, np.inf])}
    figures.draw_gamma_histogram(ax, grades, thresholds={'threshold_call_dft': 5.0})
    assert set(words(ax)) == {'pool', 'hot (and 1 not finite)', 'call DFT (5)'}
    # an outline rises by the count of each bar
    drawn = {patch.get_label(): patch.get_xy()[:, 1].max() for patch in ax.patches}
    assert drawn['pool'] >= 1 and drawn['hot (and 1 not finite)'] == 1
    assert ax.get_xlabel() == 'extrapolation grade γ' and ax.get_xscale() == 'log'


def test_calibration_draws_atoms_and_finite_bounds(ax):
    known = GradedErrors(gamma=[0.5, 1.5, np.inf], errors=[0.1, 0.2, 9.0])
    calibration = GammaCalibration(
        level=0.95, edges=np.array([0.0, 1.0, 2.0]), bounds=np.array([0.15, np.inf]), counts=np.array([1, 1])
    )
    figures.draw_calibration(ax, calibration, known)
    atoms = next(line for line in ax.lines if line.get_color() == CALM)
    np.testing.assert_allclose(atoms.get_xydata(), [[0.5, 0.1], [1.5, 0.2]])
    bounds = [line.get_xydata().tolist() for line in ax.lines if line.get_color() == ALARM]
    assert bounds == [[[0.5, 0.15], [1.0, 0.15]]]
    assert words(ax) == ['labelled atoms', 'bound for 95 %'] and ax.get_ylabel() == 'error of the force (eV/Å)'


def test_coverage_is_a_bar_for_each_judged_batch(ax):
    result = PrequentialCoverage(
        level=0.95, error_eV_per_A=0.1, covered=np.array([np.nan, 0.9, 0.97]), n_atoms=np.array([10, 10, 10]),
        n_unbounded=np.array([10, 0, 0]), thresholds=np.array([0.0, 1.0, 2.0]),
    )
    figures.draw_coverage(ax, result, ['a', 'b', 'c'])
    assert [bar.get_height() for bar in ax.patches] == [0.9, 0.97]
    assert [text.get_text() for text in ax.texts] == ['nothing known before']
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ['a', 'b', 'c']
    assert words(ax) == ['aimed at: 0.95']
