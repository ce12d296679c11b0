"""DIRECT covers every cluster; copies and near copies do not count, held-out groups stay whole."""

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.selection import (
    cluster_rows,
    drop_near_duplicates,
    first_occurrences,
    project_features,
    select_direct,
    split_held_out,
)


def blobs(sizes, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=10, size=(len(sizes), 6))
    rows = [centre + rng.normal(scale=0.05, size=(size, 6)) for centre, size in zip(centres, sizes, strict=True)]
    return np.concatenate(rows), np.repeat(np.arange(len(sizes)), sizes)


def scores_of(features):
    return project_features(features).scores


def test_every_cluster_is_met_once_however_unequal():
    features, owner = blobs([400, 50, 5, 1, 120])
    selected = select_direct(scores_of(features), count=5, rng=np.random.default_rng(0))
    assert sorted(owner[selected].tolist()) == [0, 1, 2, 3, 4]


def test_the_member_nearest_to_the_mean_of_its_cluster_is_taken():
    features, owner = blobs([40, 30, 20])
    scores = project_features(features).scores
    selected = select_direct(scores_of(features), count=3, rng=np.random.default_rng(0))
    for cluster in range(3):
        rows = np.flatnonzero(owner == cluster)
        distances = np.linalg.norm(scores[rows] - scores[rows].mean(axis=0), axis=1)
        assert rows[np.argmin(distances)] in selected


@pytest.mark.parametrize('count', [1, 7, 50, 199, 200, 500])
def test_the_count_is_exact_and_rows_are_unique(count):
    features = np.random.default_rng(1).normal(size=(200, 8))
    selected = select_direct(scores_of(features), count=count, rng=np.random.default_rng(2))
    assert len(selected) == min(count, 200) == len(set(selected.tolist()))


def test_copies_are_spread_evenly_when_there_are_fewer_clusters_than_asked():
    features = np.repeat(np.random.default_rng(3).normal(size=(4, 5)), 10, axis=0)
    selected = select_direct(scores_of(features), count=8, rng=np.random.default_rng(4))
    assert np.bincount(selected // 10).tolist() == [2, 2, 2, 2]
    same = select_direct(scores_of(np.ones((10, 3))), count=4, rng=np.random.default_rng(5))
    assert len(set(same.tolist())) == 4


def test_kaiser_keeps_the_components_above_one_and_weights_them():
    rng = np.random.default_rng(6)
    strong = rng.normal(size=(500, 2))
    features = np.hstack([strong[:, :1] * [1.0, 2.0, -3.0], strong[:, 1:] * [5.0, 1.0], np.ones((500, 1))])
    projection = project_features(features)
    # five varying columns, standardised, made of two factors: eigenvalues 3 and 2 of five
    assert projection.scores.shape == (500, 2)
    np.testing.assert_allclose(projection.explained, [0.6, 0.4], atol=0.05)
    np.testing.assert_allclose(projection.scores.std(axis=0), np.sqrt([3, 2]) * projection.explained, rtol=0.1)


def test_scale_and_offset_of_a_feature_do_not_matter():
    features, _ = blobs([40, 30, 20, 10, 20], seed=7)
    scaled = features * [1, 10, 1e3, 1e-3, 2, 1] + [0, 5, 1e3, 0, -7, 1]
    tables = [scores_of(rows) for rows in (features, scaled)]
    picks = [select_direct(scores, count=5, rng=np.random.default_rng(8)).tolist() for scores in tables]
    assert picks[0] == picks[1]


def test_bad_features_and_counts_are_refused():
    features = np.ones((5, 2))
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match=r'frames \[3\] are not finite'):
        select_direct(scores_of(features), count=2, rng=np.random.default_rng(0))


def test_clusters_that_were_served_before_give_nothing():
    features, owner = blobs([40, 30, 20, 10])
    start = [int(np.flatnonzero(owner == 1)[3]), int(np.flatnonzero(owner == 3)[0])]
    selected = select_direct(scores_of(features), count=2, rng=np.random.default_rng(0), start=start)
    assert sorted(owner[selected].tolist()) == [0, 2]


def test_clusters_never_outnumber_the_count():
    scores = np.random.default_rng(9).normal(size=(300, 3))
    for count in (3, 17, 120):
        assert len(np.unique(cluster_rows(scores, count=count))) == count


def test_equal_structures_are_found_once():
    atoms = bulk('Cu', cubic=True)
    image, other = atoms.copy(), atoms.copy()
    image.positions[0] += atoms.cell[0]
    other.positions[0, 0] += 0.01
    assert first_occurrences(Frames.from_atoms([atoms, other, image, atoms])).tolist() == [0, 1]


def test_of_rows_nearer_than_the_tolerance_the_first_is_kept():
    scores = np.array([[0.0, 0.0], [5.0, 0.0], [0.01, 0.0], [5.0, 3.0], [5.0, 3.02]])
    assert drop_near_duplicates(scores, tolerance=0.05).tolist() == [0, 1, 3]
    assert drop_near_duplicates(scores, tolerance=0.0).tolist() == [0, 1, 2, 3, 4]


def test_held_out_groups_are_whole_and_come_from_every_generator():
    kinds = np.repeat(['md', 'rattled', 'strained'], 20)
    groups = np.arange(60) // 5
    frames = Frames.from_atoms([bulk('Cu')] * 60, config_type=kinds, group=groups)
    held_out, training = split_held_out(frames, count=15, rng=np.random.default_rng(0))
    assert set(held_out) | set(training) == set(range(60)) and not set(held_out) & set(training)
    assert not set(groups[held_out]) & set(groups[training])
    assert set(kinds[held_out]) == {'md', 'rattled', 'strained'} and len(held_out) == 15


def test_held_out_never_takes_more_than_half():
    frames = Frames.from_atoms([bulk('Cu')] * 6, group=np.array([0, 0, 0, 0, 0, 1]))
    held_out, _ = split_held_out(frames, count=5, rng=np.random.default_rng(0))
    assert len(held_out) <= 3
    ungrouped = Frames.from_atoms([bulk('Cu')] * 6)
    assert len(split_held_out(ungrouped, count=2, rng=np.random.default_rng(0))[0]) == 2
