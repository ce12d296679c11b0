"""How unsure a teacher is: distances, what labels make of them, and which labels pass."""

import json

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.ace.calibration import GradedErrors
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from aiida_pyacemaker.science.teacher import label_frames, load_teacher
from aiida_pyacemaker.science.teacher.batches import ask_in_batches
from aiida_pyacemaker.science.teacher.doubt import Limits, find_doubt, judge_labels, mask_atoms
from aiida_pyacemaker.science.teacher.doubt.latent import settle
from aiida_pyacemaker.science.teacher.doubt.trust import judge_trust, learn_scale

SIZES = (0.02, 0.05, 0.1, 0.2, 0.3)


@pytest.fixture
def emt(tmp_path):
    path = tmp_path / 'emt.json'
    settings = {'model': 'ase.calculators.emt:EMT', 'elements': ['Cu', 'Al'], 'cutoff_A': 5.0}
    path.write_text(json.dumps({'teacher': 'ase', 'settings': settings}))
    return load_teacher(path)


def shaken(rng, sizes=SIZES) -> Frames:
    cells = []
    for size in sizes:
        atoms = bulk('Cu', cubic=True)
        atoms.positions += rng.normal(0, size, atoms.positions.shape)
        cells.append(atoms)
    return Frames.from_atoms(cells)


def relabel(teacher, frames, rng) -> Frames:
    """Labels of a 'reference' from which the teacher is the further the more an atom is displaced."""
    told = label_frames(teacher, frames)
    home = np.concatenate([bulk('Cu', cubic=True).positions] * len(frames))
    moved = np.linalg.norm(frames.positions - home, axis=1)
    return told.with_columns(forces=told.forces + moved[:, None] * rng.normal(0, 1, told.forces.shape))


@pytest.mark.parametrize('measure', ['nearest', 'mahalanobis'])
def test_distance_grows_away_from_home_and_is_infinite_for_a_stranger(emt, measure):
    rng = np.random.default_rng(0)
    home = shaken(rng, (0.0, *[0.01] * 8))
    place = settle(emt, [home], measure=measure)
    grades = [
        np.median(place.distance(emt.describe(list(part.iter_atoms())), part.numbers))
        for part in (shaken(rng, [size] * 4) for size in SIZES)
    ]
    assert (np.diff(grades) > 0).all() and grades[0] > 0
    stranger = Frames.from_atoms([bulk('Al')])
    assert np.isinf(place.distance(emt.describe([bulk('Al')]), stranger.numbers)).all()


@pytest.mark.parametrize('measure', ['nearest', 'mahalanobis'])
def test_one_perfect_crystal_is_home_enough(emt, measure):
    place = settle(emt, [Frames.from_atoms([bulk('Cu', cubic=True)])], measure=measure)
    rng = np.random.default_rng(6)
    grades = [
        np.median(place.distance(emt.describe(list(part.iter_atoms())), part.numbers))
        for part in (shaken(rng, [size] * 4) for size in (0.0, *SIZES))
    ]
    assert (np.diff(grades) > 0).all() and grades[0] < 1e-6 and grades[-1] < 100


def test_an_atom_of_the_home_is_judged_without_its_own_frame(emt):
    home = shaken(np.random.default_rng(2), [0.1] * 6)
    place, features = settle(emt, [home]), emt.describe(list(home.iter_atoms()))
    blind = place.distance(features, home.numbers, home.frame_of_atom())
    first = home.span(0)
    without = settle(emt, [home.select(np.arange(1, 6))])
    np.testing.assert_allclose(place.distance(features, home.numbers)[first] < blind[first], True)
    # the scale of the features differs by the frame that is missing, not the neighbours
    ratio = blind[first] / without.distance(features[first], home.numbers[first])
    assert ratio.std() / ratio.mean() < 0.1 and 0.8 < ratio.mean() < 1.25


def test_labels_turn_distances_into_force_errors(emt):
    rng = np.random.default_rng(3)
    home = Frames.from_atoms([bulk('Cu', cubic=True)])
    untold = find_doubt(emt, home=[home], batches=[])
    assert (untold.kind, untold.has_unit, untold.report['calibrated']) == ('distance', False, False)
    batches = [relabel(emt, shaken(rng, SIZES * 4), rng) for _ in range(3)]
    doubt = find_doubt(emt, home=[home], batches=batches)
    assert doubt.kind == 'distance' and doubt.has_unit
    report = doubt.report
    assert report['n_atoms'] == 240 and report['spearman'] > 0.3
    assert report['coverage'][0] is None and all(0.75 < value <= 1 for value in report['coverage'][1:])
    assert all(0.5 < value < 2 for value in report['ratio'][1:])
    assert set(report['baseline_force']) == {'n_atoms', 'spearman', 'level', 'coverage', 'n_unbounded', 'ratio'}
    new = relabel(emt, shaken(rng, [0.03] * 10 + [0.3] * 10), rng)
    told, _ = doubt.apply(emt, label_frames(emt, new))
    true = np.linalg.norm(new.forces - told.forces, axis=1)
    for half in (slice(0, 40), slice(40, 80)):
        expected = np.sqrt(np.mean(told.uncertainty[half] ** 2))
        assert 0.5 < expected / np.sqrt(np.mean(true[half] ** 2)) < 2
    json.dumps(report)


def test_one_model_without_home_and_labels_has_no_doubt(emt):
    doubt = find_doubt(emt, home=[], batches=[])
    assert (doubt.kind, doubt.has_unit, doubt.home, doubt.scale) == ('none', False, None, None)


def test_the_scale_is_the_rms_error_at_a_grade():
    rng = np.random.default_rng(1)
    grades = rng.uniform(0.1, 1.0, 4000)
    scale = learn_scale(GradedErrors(gamma=grades, errors=np.abs(rng.normal(0, 2 * grades))))
    at = np.array([0.2, 0.5, 0.9])
    np.testing.assert_allclose(scale.expect(at), 2 * at, rtol=0.15)
    assert (np.diff(scale.expect(np.linspace(0, 3, 100))) >= 0).all()
    assert scale.expect(np.array([4.0]))[0] == pytest.approx(4.0 * scale.errors[-1] / scale.grades[-1])
    assert np.isinf(scale.expect(np.array([np.inf]))[0])
    few = learn_scale(GradedErrors(gamma=np.array([1.0, 2.0]), errors=np.array([3.0, 6.0])))
    np.testing.assert_allclose(few.expect(np.array([0.5, 5.0])), [1.5, 15.0])


def test_trust_is_judged_on_batches_that_came_later():
    rng = np.random.default_rng(4)

    def draw(factor):
        grades = rng.uniform(0.1, 1.0, 800)
        return GradedErrors(gamma=grades, errors=np.abs(rng.normal(0, factor * grades)))

    fair = judge_trust([draw(1.0) for _ in range(4)])
    assert fair['coverage'][0] is None
    np.testing.assert_allclose(fair['coverage'][1:], 0.9, atol=0.04)
    np.testing.assert_allclose(fair['ratio'][1:], 1.0, atol=0.12)
    shifted = judge_trust([draw(1.0), draw(3.0)])
    assert shifted['coverage'][1] < 0.6 and shifted['ratio'][1] > 2.5


def test_limits_by_frame_and_by_atom(emt):
    labelled = label_frames(emt, shaken(np.random.default_rng(5), [0.05] * 4))
    doubts = np.tile([0.01, 0.01, 0.01, 0.01], 4)
    doubts[4:8], doubts[9] = 0.5, 0.15
    broken = labelled.label_mask.copy()
    broken[3] = 0
    frames = labelled.with_columns(uncertainty=doubts, label_mask=broken)
    verdict = judge_labels(frames, doubts, Limits(frame=0.1, atom=0.1), has_unit=True)
    assert verdict.kept.tolist() == [0, 2] and verdict.doubtful.tolist() == [1]
    assert verdict.counts == {'non_finite': 1, 'max_force': 0, 'uncertainty': 1, 'distance': 0}
    assert np.flatnonzero(verdict.masked).tolist() == [9]
    masked = mask_atoms(frames, verdict.masked)
    assert masked.force_weight[9] == 0 and masked.force_weight.sum() == 15
    assert masked.label_mask.tolist()[:3] == [HAS_ENERGY | HAS_FORCES | HAS_STRESS] * 2 + [HAS_FORCES]
    without_unit = judge_labels(frames, doubts, Limits(frame=1e-9, atom=1e-9, distance=0.2), has_unit=False)
    assert without_unit.counts['distance'] == 1 and not without_unit.masked.any()


def test_batches_shrink_until_they_fit_into_memory():
    frames = Frames.from_atoms([bulk('Cu', cubic=True)] * 13)
    sizes = []

    def ask(structures):
        sizes.append(len(structures))
        if len(structures) > 3:
            raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')
        return len(structures)

    answers = list(ask_in_batches(ask, frames, np.arange(13), batch_atoms=40))
    assert np.concatenate([rows for rows, _ in answers]).tolist() == list(range(13))
    assert sizes[:3] == [10, 5, 2] and max(sizes[2:]) == 2
    with pytest.raises(MemoryError, match='frame 0 of 4 atoms does not fit'):
        list(ask_in_batches(lambda _: (_ for _ in ()).throw(MemoryError('no')), frames, np.arange(13), batch_atoms=8))
    with pytest.raises(RuntimeError, match='a bug'):
        list(
            ask_in_batches(lambda _: (_ for _ in ()).throw(RuntimeError('a bug')), frames, np.arange(1), batch_atoms=8)
        )
