"""Figures: what is drawn, with which words; nothing is computed there."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from aiida_pyacemaker.report import figures

SEGMENTS = [
    {'label': 'round_01_explore', 'outcome': 'halted', 'step': [0, 10, 20], 'max_gamma': [0.5, 3.0, 7.0]},
    {'label': 'round_02_explore', 'outcome': 'goal', 'step': [20, 40], 'max_gamma': [0.8, 0.9]},
    {'label': 'round_03_explore', 'outcome': 'goal', 'step': [], 'max_gamma': []},
]


@pytest.fixture
def ax():
    return Figure().add_subplot()


def words(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_gamma_against_steps_with_the_halt_marked(ax):
    limits = {'threshold_add_train': 2.0, 'threshold_call_dft': 5.0, 'threshold_danger': 10.0}
    figures.draw_gamma(ax, SEGMENTS, thresholds=limits)
    lines = [line for line in ax.lines if line.get_color() == figures.CALM]
    np.testing.assert_allclose(lines[0].get_xydata(), [[0, 0.5], [10, 3.0], [20, 7.0]])
    np.testing.assert_allclose(lines[1].get_xydata(), [[20, 0.8], [40, 0.9]])
    marks = [line for line in ax.lines if line.get_marker() == 'v']
    np.testing.assert_allclose([mark.get_xydata() for mark in marks], [[[20, 7.0]]])
    assert ax.get_xlabel() == 'MD step'
    assert set(words(ax)) == {'halt', 'learn above (2)', 'call DFT (5)', 'danger (10)'}


def test_parity_before_and_after(ax):
    parity = {
        'reference': [0.0, 1.0], 'before': [0.5, 0.5], 'after': [0.1, 0.9],
        'rmse_before_eV_per_A': 0.5, 'rmse_after_eV_per_A': 0.1,
    }
    figures.draw_parity(ax, parity)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 0.5], [1, 0.5]])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[0, 0.1], [1, 0.9]])
    assert words(ax) == ['before: RMSE 0.500 eV/Å', 'after: RMSE 0.100 eV/Å']
    assert (ax.get_xlabel(), ax.get_ylabel()) == ('DFT core force, x, y, z (eV/Å)', 'force of the potential (eV/Å)')


def test_learning_curve(ax):
    points = [
        {'label': 'distilled', 'n_dft_calls': 0, 'rmse_eV_per_A': 0.8},
        {'label': 'round_01_finetune', 'n_dft_calls': 2, 'rmse_eV_per_A': 0.4},
    ]
    figures.draw_learning(ax, points)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 0.8], [2, 0.4]])
    assert [text.get_text() for text in ax.texts] == ['distilled', 'round 01']
    assert ax.get_ylabel() == 'core force RMSE against DFT (eV/Å)'


def test_gates_are_fractions_of_their_limits():
    assert figures.gate_ratio({'name': 'bulk', 'value': -0.05, 'limit': 0.1, 'passed': True}) == pytest.approx(0.5)
    assert figures.gate_ratio({'name': 'bulk', 'value': 0.3, 'limit': 0.1, 'passed': False}) == pytest.approx(3.0)
    # no number, not finite, no limit, or a limit from below
    assert figures.gate_ratio({'name': 'born', 'value': True, 'limit': True, 'passed': True}) is None
    assert figures.gate_ratio({'name': 'born', 'value': None, 'limit': 0.0, 'passed': True}) is None
    assert figures.gate_ratio({'name': 'md', 'value': float('nan'), 'limit': 10.0, 'passed': False}) is None
    assert figures.gate_ratio({'name': 'c44', 'value': 40.0, 'limit': 0.0, 'passed': True}) is None
    assert figures.gate_ratio({'name': 'least', 'value': 40.0, 'limit': 1.0, 'passed': True}) is None


def test_gates_and_phase_times_are_one_bar_each(ax):
    gates = [
        {'name': 'bulk_modulus', 'value': 0.05, 'limit': 0.1, 'passed': True},
        {'name': 'lattice', 'value': 0.5, 'limit': 0.1, 'passed': False},
        {'name': 'born', 'value': None, 'limit': 0.0, 'passed': True},
    ]
    figures.draw_gates(ax, gates)
    assert [bar.get_width() for bar in ax.patches] == [0.5, 2.0, 0.0]
    assert [text.get_text() for text in ax.texts] == ['0.50', '5.00', 'passed']
    assert [label.get_text() for label in ax.get_yticklabels()] == ['bulk modulus', 'lattice', 'born']
    other = Figure().add_subplot()
    phases = [
        {'label': 'distillation_1', 'phase': 'distillation', 'wall_s': 12.0},
        {'label': 'round_01_cutout', 'phase': 'cutout', 'wall_s': 80.4},
    ]
    figures.draw_phase_times(other, phases)
    assert [bar.get_width() for bar in other.patches] == [12.0, 80.4]
    assert [text.get_text() for text in other.texts] == ['12 s', '80 s']
    assert other.get_xlabel() == 'wall time (s)'
