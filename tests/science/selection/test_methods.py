"""Every method takes what it says it takes, on top of what is there, with quotas."""

from itertools import combinations

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.selection import (
    Candidates,
    Environments,
    distribution_entropy,
    find_environments,
    find_strata,
    project_features,
    select,
    share_out,
)
from aiida_pyacemaker.science.selection.d_optimal import RIDGE, select_d_optimal, select_max_volume
from aiida_pyacemaker.science.selection.entropy import select_entropy
from aiida_pyacemaker.science.selection.farthest import select_farthest

METHODS = ('direct', 'farthest', 'd_optimal', 'max_volume', 'entropy', 'random')


@pytest.fixture(scope='module')
def frames():
    """Forty copper-gold crystals, half of them hardly displaced."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(40):
        atoms = bulk('Cu', a=3.7, cubic=True)
        atoms.symbols[: index % 3] = 'Au'
        atoms.positions += rng.normal(scale=0.02 if index < 20 else 0.3, size=(4, 3))
        made.append(atoms)
    return Frames.from_atoms(made, config_type=np.repeat(['still', 'shaken'], 20))


@pytest.fixture(scope='module')
def candidates(frames):
    """What is known of them in a small basis."""
    student = build_potential(['Au', 'Cu'], FitConfig(number_of_functions_per_element=15, cutoff=4.5))
    environments = find_environments(student, frames)
    scores = project_features(environments.frame_features()).scores
    return Candidates(scores=scores, environments=environments, strata=find_strata(frames))


def log_determinant(environments, chosen):
    """Return the log determinant of the information of some frames, from its definition."""
    scaled, total = environments.scaled(), 0.0
    for kind, count in enumerate(scaled.n_functions):
        rows = [scaled.of_frame(frame)[kind] for frame in chosen if kind in scaled.of_frame(frame)]
        table = np.concatenate([np.zeros((0, count)), *rows])
        total += np.linalg.slogdet(RIDGE * np.eye(count) + table.T @ table)[1]
    return total


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('floor', [0.0, 0.8])
def test_the_count_is_exact_seeded_and_holds_the_start(candidates, method, floor):
    draw = [
        select(candidates, method, count=12, rng=np.random.default_rng(3), start=[5, 30], floor=floor) for _ in range(2)
    ]
    assert draw[0].tolist() == draw[1].tolist() == sorted(set(draw[0].tolist()))
    assert len(draw[0]) == 12 and {5, 30} <= set(draw[0].tolist())


@pytest.mark.parametrize('method', METHODS)
def test_quotas_let_every_generator_in_every_subsystem_be_heard(candidates, method):
    floor = 1.0
    selected = select(candidates, method, count=12, rng=np.random.default_rng(3), floor=floor)
    names, counts = np.unique(candidates.strata[selected], return_counts=True)
    assert len(names) == 4 and counts.min() >= 3  # still and shaken, Cu and Au-Cu: three each
    assert share_out(candidates.strata, count=12, floor=floor) == dict.fromkeys(names.tolist(), 3)


def test_d_optimal_is_the_greedy_choice_of_the_definition(candidates):
    environments = candidates.environments
    for per_atom in (True, False):
        taken: list[int] = [7]
        chosen = select_d_optimal(environments, count=6, start=[7], per_atom=per_atom)
        for frame in chosen:
            before = log_determinant(environments, taken)
            others = [row for row in range(40) if row not in taken]
            gains = [log_determinant(environments, [*taken, row]) - before for row in others]  # all have four atoms
            assert frame == others[int(np.argmax(gains))]
            taken.append(int(frame))


def test_d_optimal_pays_for_atoms_not_for_frames():
    rows = np.random.default_rng(1).normal(size=(12, 5))
    offsets = np.array([0, 2, 12])
    environments = Environments(rows=rows, species=np.zeros(12, dtype=int), offsets=offsets, n_functions=(5,))
    assert select_d_optimal(environments, count=1, per_atom=True).tolist() == [0]
    assert select_d_optimal(environments, count=1, per_atom=False).tolist() == [1]


def test_max_volume_takes_the_frames_that_span_the_pool():
    basis = np.eye(4)
    rows = np.concatenate([0.3 * basis, [[0.1, 0.2, 0.1, 0.0]], basis, [[0.2, 0.2, 0.3, 0.1]]])
    environments = Environments(rows=rows, species=np.zeros(10, dtype=int), offsets=np.arange(11), n_functions=(4,))
    assert sorted(select_max_volume(environments, count=4).tolist()) == [5, 6, 7, 8]
    assert len(select_max_volume(environments, count=9, start=[0])) == 9


def test_farthest_points_are_farthest():
    scores = np.array([[0.0], [1.0], [2.0], [10.0], [6.5]])
    assert select_farthest(scores, count=4).tolist() == [2, 3, 4, 0]
    assert select_farthest(scores, count=2, start=[3]).tolist() == [0, 4]


def test_entropy_is_that_of_its_definition_and_grows_most_with_the_chosen(candidates):
    scores = candidates.scores
    assert distribution_entropy(np.zeros((7, 2)), 1.0) == pytest.approx(0.0)
    assert distribution_entropy(100.0 * np.arange(7.0)[:, None], 1.0) == pytest.approx(np.log(7))
    squares = ((scores[:, None] - scores[None]) ** 2).sum(axis=2)
    width = float(np.sqrt(np.median(squares)))
    expected = -np.log(np.exp(-squares / (2 * width**2)).mean(axis=1)).mean()
    assert distribution_entropy(scores, width) == pytest.approx(expected, rel=1e-9)
    best = max(distribution_entropy(scores[list(pair)], width) for pair in combinations(range(40), 2))
    chosen = select_entropy(scores, count=8, width=width)
    drawn = [np.random.default_rng(seed).permutation(40)[:8] for seed in range(20)]
    assert distribution_entropy(scores[chosen], width) > max(
        distribution_entropy(scores[rows], width) for rows in drawn
    )
    assert distribution_entropy(scores[chosen[:2]], width) <= best


def test_bad_counts_and_a_missing_basis_are_refused(candidates):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match='count is 0, expected at least 1'):
        select(candidates, 'direct', count=0, rng=rng)
    with pytest.raises(ValueError, match='d_optimal selects in the basis of the student'):
        select(Candidates(scores=candidates.scores), 'd_optimal', count=3, rng=rng)


def test_frame_features_are_means_and_spreads_by_element(candidates):
    environments = candidates.environments
    features = environments.frame_features().reshape(40, 2, 2, -1)
    rows = environments.of_frame(23)[0]
    np.testing.assert_allclose(features[23, 0, 0], rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(features[23, 0, 1], rows.std(axis=0), atol=1e-6 * np.abs(rows).max())
    assert not features[0, 0].any()  # no gold there
