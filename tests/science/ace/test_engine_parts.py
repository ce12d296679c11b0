"""Embedding, fading, kept pairs and groups of centres against plain NumPy twins."""

import numpy as np
import pytest

from aiida_pyacemaker.science.ace import Embedding
from aiida_pyacemaker.science.ace.engine import embedding_kernels
from aiida_pyacemaker.science.ace.engine.run import centre_groups
from aiida_pyacemaker.science.ace.model.core_repulsion import core_switch
from aiida_pyacemaker.science.neighbour_kernels import near_pairs

RNG = np.random.default_rng(12)


@pytest.mark.parametrize('kind', ['FinnisSinclair', 'FinnisSinclairShiftedScaled'])
def test_embedding(kind):
    embedding = Embedding(kind=kind, parameters=(1.0, 1.0, 0.6, 0.5, -0.4, 2.0, 0.0, 3.0))
    size = 10.0 ** RNG.uniform(-12, 2, size=(40, 4)) * RNG.choice([-1, 1], size=(40, 4))
    size[0] = 0.0
    code = embedding_kernels.POWER if kind == 'FinnisSinclair' else embedding_kernels.SHIFTED_SCALED
    value, slope = embedding.evaluate(size)
    for row, expected, d_expected in zip(size, value, slope, strict=True):
        densities, slopes = np.zeros((4, 8)), np.zeros((4, 8))
        densities[:, 5] = row
        found = embedding_kernels.embed(
            code, np.array(embedding.parameters), 0, 4, densities.ravel(), 5, flat_slopes := slopes.ravel()
        )
        # the shifted power is a difference of numbers of order one
        assert found == pytest.approx(expected, rel=1e-13, abs=1e-15)
        np.testing.assert_allclose(flat_slopes.reshape(4, 8)[:, 5], d_expected, rtol=1e-12)


@pytest.mark.parametrize('width', [0.0, 2.5])
def test_fading(width):
    embedding = Embedding(rho_core_cut=4.0, drho_core_cut=width)
    points = np.array([0.0, 1.4, 1.6, 3.0, 3.99, 4.0, 7.0])
    value, slope = core_switch(points, embedding)
    found = np.array([embedding_kernels.fading(point, 4.0, width) for point in points])
    np.testing.assert_allclose(found, np.column_stack([value, slope]), rtol=1e-14, atol=1e-15)
    assert width == 0.0 or np.isnan(embedding_kernels.fading(np.nan, 4.0, width)[0])


def test_near_pairs():
    positions = RNG.normal(scale=2.0, size=(6, 3))
    rows, neighbours, shifts = np.array([0, 5, 5, 9, 12, 15, 20]), RNG.integers(0, 6, 20), RNG.normal(size=(20, 3))
    shifts[6] = np.nan
    first = np.repeat(np.arange(6), np.diff(rows))
    vectors = positions[neighbours] - positions[first] + shifts
    near = ~(np.linalg.norm(vectors, axis=1) >= 3.0)
    starts, found, out = np.empty_like(rows), np.empty_like(neighbours), np.empty((20, 3))
    count = near_pairs(rows, neighbours, shifts, positions, 3.0, starts, found, out)
    np.testing.assert_array_equal(starts, np.r_[0, np.cumsum(np.bincount(first[near], minlength=6))])
    np.testing.assert_array_equal(found[:count], neighbours[near])
    np.testing.assert_allclose(out[:count], vectors[near], rtol=1e-15)


def test_groups_hold_every_centre_once():
    species = np.array([1, 0, 2, 2, 1] * 5)
    groups, elements = centre_groups(species, 4)
    assert sorted(groups[groups >= 0]) == list(range(25)) and elements.tolist() == [0, 1, 1, 2, 2]
    for group, element in zip(groups.reshape(-1, 8), elements, strict=True):
        assert (species[group[group >= 0]] == element).all()
