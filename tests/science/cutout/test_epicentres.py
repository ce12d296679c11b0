"""Epicentres: highest grade first, one a cluster, further frames only when they are needed."""

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.config import ActiveLearningThresholds
from aiida_pyacemaker.science.cutout import EpicentreRule, choose_epicentres, gather_epicentres
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.md.halting import limits

FOUR = {'thresholds': ActiveLearningThresholds(), 'count': 4, 'max_per_frame': 1, 'core_radius': 0.0,
        'min_steps_apart': 10}  # fmt: skip


@pytest.fixture
def silicon():
    return bulk('Si', 'diamond', a=5.43, cubic=True) * (2, 2, 2)


def choose(atoms, gamma, count=4, **extra):
    return choose_epicentres(atoms, gamma, threshold_add=2.0, count=count, separation=3.0, **extra)


def test_one_epicentre_a_cluster_highest_first(silicon):
    gamma = np.ones(64)
    bonded = int(np.argsort(silicon.get_distances(0, range(64), mic=True))[1])
    far = int(np.argmax(silicon.get_distances(0, range(64), mic=True)))
    gamma[[0, bonded, far]] = 9.0, 8.0, 7.0
    assert choose(silicon, gamma) == [(0, 2), (far, 1)]
    assert choose(silicon, gamma, count=1) == [(0, 2)]
    assert choose(silicon, gamma, exclude=[0]) == [(bonded, 1), (far, 1)]


def test_clusters_know_the_periodic_box(silicon):
    gamma = np.ones(64)
    edge = int(np.argmax(silicon.positions[:, 0]))
    across = min(
        range(64), key=lambda k: silicon.get_distance(edge, k, mic=True) + 9.0 * (silicon.positions[k, 0] > 3.0)
    )
    assert silicon.get_distance(edge, across) > 5.0
    gamma[[edge, across]] = 5.0, 4.0
    assert [atom for atom, _ in choose(silicon, gamma)] == [edge]


def test_of_more_clusters_than_asked_for_the_least_alike_are_taken(silicon):
    """Three atoms of the bulk and the neighbour of a vacancy: after the highest, the defect and not its like."""
    atoms = silicon.repeat((2, 1, 1))
    order = np.argsort(atoms.get_distances(0, range(128), mic=True))
    hole = int(order[-1])
    beside = int(np.argsort(atoms.get_distances(hole, range(128), mic=True))[1])
    atoms.numbers[hole] = 1  # a mark: the row is taken out, so rows above it move down
    gamma = np.ones(128)
    like = int(next(row for row in order if 5.0 < atoms.get_distance(0, row, mic=True) < 6.0))
    gamma[[0, like, beside]] = 9.0, 8.0, 7.0
    kept = np.arange(128) != hole
    atoms, gamma = atoms[kept], gamma[kept]
    first, second, third = (int(np.flatnonzero(gamma == value)[0]) for value in (9.0, 8.0, 7.0))
    assert [atom for atom, _ in choose(atoms, gamma, count=2)] == [first, third]
    assert [atom for atom, _ in choose(atoms, gamma, count=3)] == [first, second, third]


def test_thresholds_per_element_say_which_atoms_count():
    alloy = bulk('NaCl', 'rocksalt', a=5.64, cubic=True) * (2, 2, 2)
    gamma = np.full(64, 3.0)
    rule = ActiveLearningThresholds(per_element={'Cl': {'threshold_add_train': 4.0}})
    add = limits(rule, 'threshold_add_train', alloy.numbers)
    chosen = choose_epicentres(alloy, gamma, threshold_add=add, count=64, separation=0.1)
    assert {alloy.symbols[atom] for atom, _ in chosen} == {'Na'} and len(chosen) == 32
    gamma[alloy.symbols == 'Cl'] = 20.0  # five times its threshold, sodium one and a half
    assert alloy.symbols[choose_epicentres(alloy, gamma, threshold_add=add, count=1, separation=3.0)[0][0]] == 'Cl'


def test_not_a_number_counts_as_over(silicon):
    gamma = np.full(64, 3.0)
    gamma[17] = np.nan
    assert choose(silicon, gamma, count=1)[0][0] == 17


def test_nothing_above_gives_the_highest_atom_alone(silicon):
    gamma = np.linspace(0.1, 1.9, 64)
    assert choose(silicon, gamma) == [(63, 0)]


def test_further_frames_fill_up_and_lie_apart(silicon):
    rng = np.random.default_rng(1)
    structures = [silicon.copy() for _ in range(10)]
    structures[5].positions[1] = structures[5].positions[0] + 0.5  # beyond learning
    gamma = rng.uniform(0.5, 1.5, size=(10, 64))
    gamma[8, 3] = 4.0
    frames = Frames.from_atoms(structures, gamma=gamma.ravel())
    steps = [10 * k for k in range(10)]
    rule = EpicentreRule(
        thresholds=ActiveLearningThresholds(), count=4, max_per_frame=1, core_radius=0.0, min_steps_apart=10
    )
    found = gather_epicentres(frames, steps, 8, rule=rule)
    assert len(found) == 4 and (found[0].frame, found[0].atom, found[0].gamma) == (8, 3, 4.0)
    assert 5 not in {epicentre.frame for epicentre in found}
    used = sorted(epicentre.step for epicentre in found)
    assert np.diff(used).min() >= 10
    one = gather_epicentres(frames, steps, 8, rule=EpicentreRule(**{**vars(rule), 'count': 1}))
    assert [epicentre.frame for epicentre in one] == [8]


def test_frames_where_the_student_is_ignorant_come_before_an_even_spread(silicon):
    gamma = np.full((20, 64), 0.7)
    gamma[12:, 5] = [2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0, 6.0]  # the excursion: the last eight of twenty frames
    frames = Frames.from_atoms([silicon] * 20, gamma=gamma.ravel())
    steps = [10 * k for k in range(20)]
    rule = EpicentreRule(
        thresholds=ActiveLearningThresholds(), count=4, max_per_frame=1, core_radius=0.0, min_steps_apart=10
    )
    found = gather_epicentres(frames, steps, 19, rule=rule)
    assert [(epicentre.frame, epicentre.atom) for epicentre in found] == [(19, 5), (17, 5), (15, 5), (13, 5)]
    many = gather_epicentres(frames, steps, 19, rule=EpicentreRule(**{**vars(rule), 'count': 11}))
    assert sorted(epicentre.frame for epicentre in many[:8]) == list(range(12, 20))
    assert all(epicentre.gamma == 0.7 for epicentre in many[8:]) and len(many) == 11
    assert len({epicentre.frame for epicentre in many}) == 11
    used = sorted(epicentre.step for epicentre in many)
    assert np.diff(used).min() >= 10
