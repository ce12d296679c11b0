"""What a row counts: masks, groups, a ceiling on forces, robust re-weighting."""

import numpy as np
import pytest
from fit_examples import BASELINE, labelled_frames, true_potential

from aiida_pyacemaker.science.ace.quality import robust_factors
from aiida_pyacemaker.science.ace.weights import RowFactors, RowWeights, huber_factors, weigh_frame
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import HAS_FORCES

FRAMES = labelled_frames(3, 1)
FAR = np.zeros(8, dtype=bool)


def weigh(frames=FRAMES, index=0, close=FAR, factors=None, **settings):
    return weigh_frame(frames, index, RowWeights(**settings), close=close, factors=factors)


def test_everything_counts_one_by_default():
    found = weigh()
    assert (found.energy, found.stress, found.forces.tolist()) == (1.0, 1.0, [1.0] * 8)
    assert found.kinds == ('energy', 'forces', 'stress') and found.n_too_close == 0


def test_masks():
    core = np.zeros(FRAMES.n_atoms)
    core[:2] = 0.5
    found = weigh(FRAMES.with_columns(force_weight=core))
    assert found.kinds == ('forces',) and found.forces.tolist() == [0.5, 0.5] + [0.0] * 6
    assert weigh(FRAMES.with_columns(label_mask=np.full(3, HAS_FORCES))).kinds == ('forces',)
    close = FAR.copy()
    close[3] = True
    found = weigh(close=close)  # a frame with a pair for the baseline has no energy and no stress of the student's
    assert found.kinds == ('forces',) and found.forces[3] == 0.0 and found.n_too_close == 1


def test_groups_go_by_the_generator():
    frames = FRAMES.with_columns(config_type=np.array(['rattled', 'dimer', '']))
    weights = [weigh(frames, index, groups={'dimer': 0.1, 'rattled': 2.0}) for index in range(3)]
    assert [found.energy for found in weights] == [2.0, 0.1, 1.0] and weights[1].forces.tolist() == [0.1] * 8
    assert weigh(frames, 1, groups={'dimer': 0.0}).kinds == ()


def test_force_ceiling_leaves_the_relative_error():
    size = np.linalg.norm(FRAMES.forces[FRAMES.span(0)], axis=1)
    ceiling = float(np.median(size))
    found = weigh(force_ceiling=ceiling)
    above = size > ceiling
    assert above.any() and (found.forces[~above] == 1.0).all()
    np.testing.assert_allclose(found.forces[above] * size[above] ** 2, ceiling**2)
    assert found.energy == found.stress == pytest.approx((ceiling / size.max()) ** 2)


def test_factors_multiply_and_settings_are_taken_over():
    factors = RowFactors(frames=np.array([0.5, 1, 1]), atoms=np.linspace(0.1, 1.0, FRAMES.n_atoms))
    found = weigh(factors=factors)
    assert found.energy == 0.5 and found.forces.tolist() == factors.atoms[:8].tolist()
    config = FitConfig(group_weights={'dimer': 0.1}, force_ceiling=20.0, weight_energy=3.0)
    assert RowWeights.from_config(config) == RowWeights(energy=3.0, groups={'dimer': 0.1}, force_ceiling=20.0)


def test_huber_is_one_below_and_falls_as_the_inverse_above():
    residuals = np.array([-1.0, 1.0, -1.0, 1.0, 10.0, np.nan])
    limit = 2.0 * 1.4826
    assert huber_factors(residuals, 2.0).tolist() == [1.0, 1.0, 1.0, 1.0, pytest.approx(limit / 10.0), 1.0]
    assert huber_factors(np.zeros(3), 2.0).tolist() == [1.0] * 3


def test_robust_factors_find_the_wrong_labels():
    """Two wrong forces and one wrong energy among good ones are found; the constant of the zero is not an error."""
    rng = np.random.default_rng(5)
    frames = labelled_frames(8, 3)
    noisy = frames.forces + rng.normal(scale=1e-3, size=frames.forces.shape)
    noisy[[5, 40]] += 2.0
    energy = frames.energy + 8 * rng.normal(scale=1e-4, size=8) + 8 * 0.25
    energy[2] += 1.0
    labels = frames.with_columns(forces=noisy, energy=energy)
    found = robust_factors(labels, true_potential(), BASELINE, threshold=5.0)
    assert np.flatnonzero(found.atoms < 0.1).tolist() == [5, 40] and np.median(found.atoms) == 1.0
    assert np.flatnonzero(found.frames < 0.1).tolist() == [2]
