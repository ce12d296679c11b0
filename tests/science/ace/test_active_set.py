"""Active sets: maximal volume, large grades in unseen directions, parity with stored grades."""

import numpy as np
import pytest
from ace_examples import FIXTURES, LINEAR, reference

from aiida_pyacemaker.science.ace import ActiveSet, evaluate
from aiida_pyacemaker.science.ace.active_set import (
    RANK_TOLERANCE,
    SWAP_TOLERANCE,
    TooFewEnvironments,
    build_active_set,
    grade_rows,
    select_active,
)


@pytest.mark.parametrize('name', LINEAR)
def test_grades_equal_the_stored_ones(name):
    potential, _, frames = reference(name)
    active_set = ActiveSet.read(FIXTURES / f'{name}.asi')
    for atoms, values in frames:
        gamma = evaluate(potential, atoms, active_set=active_set).gamma
        assert gamma == pytest.approx(values['gamma'], rel=1e-6, abs=1e-9)


def rows_of_rank(rank, *, count=400, width=30, seed=3):
    """Environments in a subspace, with columns of very different sizes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, rank)) @ rng.normal(size=(rank, width)) * 10.0 ** rng.uniform(-4, 3, width)


def test_no_candidate_exceeds_the_tolerance_and_active_rows_have_grade_one():
    rows = rows_of_rank(30)
    chosen, inverse = select_active(rows)
    assert len(chosen) == 30
    assert grade_rows(rows, inverse).max() <= SWAP_TOLERANCE + 1e-9
    assert grade_rows(rows[chosen], inverse) == pytest.approx(np.ones(30), abs=1e-9)
    assert np.abs(rows[chosen] @ inverse).sum(axis=1) == pytest.approx(np.ones(30), abs=1e-7)


def test_volume_beats_random_choices():
    rows = rows_of_rank(6, count=60, width=6)
    chosen, _ = select_active(rows)
    volume = abs(np.linalg.det(rows[chosen]))
    rng = np.random.default_rng(0)
    others = [abs(np.linalg.det(rows[rng.choice(60, 6, replace=False)])) for _ in range(2000)]
    assert volume >= max(others)


@pytest.mark.parametrize('count', [4, 400])
def test_unseen_directions_have_large_grades(count):
    rows = rows_of_rank(12, count=400)[:count]
    chosen, inverse = select_active(rows)
    assert len(chosen) == min(count, 12)
    # seen environments differ from the seen subspace by round-off only, which the tolerance absorbs
    assert grade_rows(rows, inverse).max() < SWAP_TOLERANCE + 1e-4
    scale = np.abs(rows).max(axis=0)
    stranger = np.random.default_rng(8).normal(size=(5, rows.shape[1])) * scale
    assert grade_rows(stranger, inverse).min() > 1e6


def test_function_that_was_never_populated_has_the_inverse_tolerance_on_its_diagonal():
    rows = rows_of_rank(30)
    rows[:, 11] = 0.0
    inverse = build_active_set({'Cu': rows}).inverses['Cu']
    assert inverse[11, 11] == 1.0 / RANK_TOLERANCE
    assert np.count_nonzero(inverse[11]) == np.count_nonzero(inverse[:, 11]) == 1
    new_channel = rows[:1] + 1e-3 * np.eye(30)[11]
    assert grade_rows(new_channel, inverse)[0] > 1e5


def test_no_environment_is_an_error_that_says_how_many_are_needed():
    with pytest.raises(TooFewEnvironments, match=r'no environment of Ni .* 30'):
        build_active_set({'Ni': np.zeros((0, 30))})


def test_non_finite_is_infinite_in_grades_and_refused_as_candidate():
    _, inverse = select_active(rows_of_rank(30))
    active_set = ActiveSet(inverses={'Cu': inverse})
    broken = [np.full(30, np.nan), np.full(30, np.inf), np.zeros(30)]
    assert active_set.gamma([0, 0, 0], broken).tolist() == [np.inf, np.inf, 0.0]
    with pytest.raises(ValueError, match='NaN or inf'):
        select_active(np.full((3, 4), np.nan))


def test_file_round_trip(tmp_path):
    active_set = build_active_set({'Ni': rows_of_rank(30), 'Al': rows_of_rank(20, width=20)})
    active_set.write(tmp_path / 'potential.asi')
    again = ActiveSet.read(tmp_path / 'potential.asi')
    assert list(again.inverses) == ['Ni', 'Al']
    assert all((again.inverses[key] == active_set.inverses[key]).all() for key in ('Al', 'Ni'))
    (tmp_path / 'broken.asi').write_text('x')
    with pytest.raises(ValueError, match=r'broken\.asi is not an active set'):
        ActiveSet.read(tmp_path / 'broken.asi')
