"""The learning curve and its verdict."""

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.learning_curve import judge_curve, nested_subsets


@pytest.mark.parametrize(('exponent', 'worth'), [(0.5, True), (0.05, False), (-0.3, False)])
def test_an_exact_power_law_is_found_and_judged(exponent, worth):
    sizes = [100, 200, 400]
    verdict = judge_curve(sizes, [3.0 * size**-exponent for size in sizes], worth_gain=0.1)
    assert verdict['exponent'] == pytest.approx(exponent)
    assert verdict['gain_of_twice_as_many'] == pytest.approx(max(0.0, 1 - 2**-exponent))
    assert verdict['worth_more'] is worth


def test_one_size_is_no_curve():
    with pytest.raises(ValueError, match='two sizes at least'):
        judge_curve([10, 10], [0.1, 0.1], worth_gain=0.1)


def test_subsets_are_nested_and_split_no_group():
    groups = np.repeat(np.arange(10), 4)
    frames = Frames.from_atoms([bulk('Cu')] * 42, group=[*groups, -1, -1])
    small, large = nested_subsets(frames, (0.25, 0.5), seed=3)
    assert set(small) < set(large) and 11 <= len(small) <= 14 and 21 <= len(large) <= 24
    for rows in (small, large):
        outside = np.setdiff1d(np.arange(40), rows)
        assert not set(groups[rows[rows < 40]]) & set(groups[outside])
    assert np.array_equal(nested_subsets(frames, (0.25,), seed=3)[0], small)
