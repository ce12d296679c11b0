"""The canary of a student: it knows its own fit and no other."""

import json

import pytest
from fit_examples import BASELINE, CONFIG, ELEMENTS, labelled_frames, true_potential

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.ace.blocks import make_fit_block
from aiida_pyacemaker.science.ace.fit import solve_blocks
from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.student import (
    Student,
    check_canary,
    choose_canary,
    grade_canary,
    read_canary,
    sharper_canary,
    write_canary,
)


def fitted(seed):
    frames = labelled_frames(6, seed)
    empty = build_potential(ELEMENTS, CONFIG).with_reference_energies(true_potential().reference_energies)
    block = make_fit_block(frames, empty, name='pool', baseline=BASELINE, weights=RowWeights())
    result = solve_blocks([block], empty, factors={}, ridge=1e-10, complete=True)
    return Student(potential=result.potential, active_set=result.active_set, baseline=BASELINE), frames


@pytest.fixture(scope='module')
def students():
    return fitted(1), fitted(2)


def test_canary_is_written_read_and_recognised(students, tmp_path):
    (student, frames), _ = students
    atoms = choose_canary(frames.iter_atoms(), ELEMENTS)
    written = write_canary(tmp_path, student, atoms)
    again = read_canary(tmp_path)
    assert again.atoms == atoms and again.gamma.tolist() == written.gamma.tolist() and again.energy == written.energy
    assert set(json.loads((tmp_path / 'canary.json').read_text())) == {
        'numbers', 'positions', 'cell', 'pbc', 'gamma', 'energy',
    }
    check_canary(student, again)


def test_active_set_or_coefficients_of_another_fit_are_found_out(students, tmp_path):
    (student, frames), (other, _) = students
    canary = write_canary(tmp_path, student, choose_canary(frames.iter_atoms(), ELEMENTS))
    mixed = Student(potential=student.potential, active_set=other.active_set, baseline=BASELINE)
    with pytest.raises(ValueError, match='largest γ of the canary is'):
        check_canary(mixed, canary)
    scaled = student.potential.with_coefficients(1.01 * student.potential.linear_coefficients)
    with pytest.raises(ValueError, match='energy an atom of the canary is'):
        check_canary(Student(potential=scaled, active_set=student.active_set, baseline=BASELINE), canary)


def test_a_frame_of_the_active_set_is_moved_until_its_grade_says_something(students):
    """An active atom has γ = 1 in every active set that holds it: the maximum would not tell two of them apart."""
    frames = labelled_frames(60, 7)
    empty = build_potential(ELEMENTS, CONFIG).with_reference_energies(true_potential().reference_energies)
    block = make_fit_block(frames, empty, name='pool', baseline=BASELINE, weights=RowWeights())
    result = solve_blocks([block], empty, factors={}, ridge=1e-10)
    student = Student(potential=result.potential, active_set=result.active_set, baseline=BASELINE)
    trained = min(frames.iter_atoms(), key=lambda atoms: abs(grade_canary(student, atoms).gamma.max() - 1.0))
    assert grade_canary(student, trained).gamma.max() == pytest.approx(1.0, abs=0.01)
    sharper = sharper_canary(student, trained)
    assert 1.05 <= grade_canary(student, sharper).gamma.max() <= 10.0
    assert sharper_canary(student, trained) == sharper
    (unsure, few), _ = students  # too few environments: whatever moves has a grade of 1e6, programs differ there
    frame = few.atoms(0)
    assert sharper_canary(unsure, frame) == frame


def test_choice_prefers_all_elements_then_periodic_then_small():
    frames = labelled_frames(2, 1)
    both, pure = frames.atoms(0), frames.atoms(1)
    pure.symbols = 'Al' * len(pure)
    smaller = both[:4]
    assert choose_canary([pure, both, smaller], ELEMENTS) == smaller
    smaller.pbc = False
    assert choose_canary([pure, both, smaller], ELEMENTS) == both
    assert choose_canary([both * (4, 4, 4)], ELEMENTS) is None


@pytest.mark.parametrize('text', ['{', '{}', json.dumps({'numbers': [1], 'positions': [[0, 0, 0]], 'cell': [1, 1, 1],
                                                         'pbc': [0, 0, 0], 'gamma': [1.0, 2.0], 'energy': 1.0})])
def test_damaged_canary_is_refused(tmp_path, text):
    assert read_canary(tmp_path) is None
    (tmp_path / 'canary.json').write_text(text)
    with pytest.raises(ValueError, match=r'canary\.json is not a canary'):
        read_canary(tmp_path)
