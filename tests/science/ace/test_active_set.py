"""Active sets: maximal volume, large grades in unseen directions, parity with stored grades."""

from types import SimpleNamespace

import numpy as np
import pytest
from ace_examples import FIXTURES, LINEAR, reference
from ase.build import bulk

from aiida_pyacemaker.science.ace import ActiveSet, evaluate
from aiida_pyacemaker.science.ace.active_set import (
    PASSES,
    RANK_TOLERANCE,
    SWAP_TOLERANCE,
    CandidateStream,
    Coverage,
    TooFewEnvironments,
    active_set_from,
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
    chosen, inverse, _ = select_active(rows)
    assert len(chosen) == 30
    assert grade_rows(rows, inverse).max() <= SWAP_TOLERANCE + 1e-9
    assert grade_rows(rows[chosen], inverse) == pytest.approx(np.ones(30), abs=1e-9)
    assert np.abs(rows[chosen] @ inverse).sum(axis=1) == pytest.approx(np.ones(30), abs=1e-7)


def test_volume_beats_random_choices():
    rows = rows_of_rank(6, count=60, width=6)
    chosen, _, _ = select_active(rows)
    volume = abs(np.linalg.det(rows[chosen]))
    rng = np.random.default_rng(0)
    others = [abs(np.linalg.det(rows[rng.choice(60, 6, replace=False)])) for _ in range(2000)]
    assert volume >= max(others)


@pytest.mark.parametrize('count', [4, 400])
def test_unseen_directions_have_large_grades(count):
    rows = rows_of_rank(12, count=400)[:count]
    chosen, inverse, _ = select_active(rows)
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


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (np.zeros((0, 30)), r'no independent environment of Ni .* expected 30'),
        (np.zeros((5, 30)), r'no independent environment of Ni .* expected 30'),  # free atoms only
        (rows_of_rank(12)[:7], r'7 independent environments of Ni .* expected 30'),
        (rows_of_rank(12), r'12 independent environments of Ni .* expected 30'),
        (np.tile(rows_of_rank(30)[:1], (900, 1)), r'1 independent environment of Ni .* expected 30'),  # a crystal
        (rows_of_rank(12) * (np.arange(30) > 4), r'12 independent .* expected 25'),  # five functions are silent
    ],
)
def test_too_few_environments_is_an_error_that_says_how_many_are_needed(rows, message):
    with pytest.raises(TooFewEnvironments, match=message):
        build_active_set({'Ni': rows})


def test_completion_is_allowed_when_asked_for_and_counted():
    built = build_active_set({'Ni': rows_of_rank(12) * (np.arange(30) > 4)}, complete=True)
    assert built.coverage['Ni'] == Coverage(n_functions=30, n_active=12, n_unpopulated=5)
    with pytest.raises(TooFewEnvironments, match='complete_active_set'):
        built.check_complete()
    with pytest.raises(TooFewEnvironments, match='no independent'):
        build_active_set({'Ni': np.zeros((0, 30))}, complete=True)
    build_active_set({'Ni': rows_of_rank(30)}).check_complete()


@pytest.mark.parametrize('rank', [30, 12])
def test_a_stream_of_many_environments_keeps_few_and_spans_them_all(rank):
    rows = rows_of_rank(rank, count=20_000)
    stream, held, largest = CandidateStream(30), [], []
    for _ in range(PASSES):
        for piece in np.array_split(rows, 450):
            stream.add(piece)
            held.append(len(stream.rows) + sum(map(len, stream._pieces)))
        again = stream.settle()
        largest.append(grade_rows(rows, select_active(stream.rows)[1]).max())
        if not again:
            break
    assert max(held) < 2100 and len(stream.result()) == rank
    # after one pass rows that were left out early may exceed the tolerance a little, after some no row does
    assert largest[0] < 1.5 and len(largest) < PASSES
    assert largest[-1] <= SWAP_TOLERANCE + 1e-4
    _, best = np.linalg.slogdet(rows[select_active(rows)[0]][:, :rank])
    _, found = np.linalg.slogdet(stream.result()[:, :rank])
    assert found > best - 0.1 * rank


def test_structures_are_gone_through_until_no_atom_exceeds_the_tolerance(monkeypatch):
    monkeypatch.setattr('aiida_pyacemaker.science.ace.active_set.BUFFERED', 0)
    potential, _, _ = reference('Cu_SBessel_lin')
    rng, structures = np.random.default_rng(5), []
    for _ in range(120):
        atoms = bulk('Cu', a=rng.uniform(3.3, 3.9), cubic=True)
        atoms.positions += rng.normal(scale=0.2, size=(4, 3))
        atoms.set_array('force_weight', np.array([1.0, 1.0, 0.5, 0.0]))
        structures.append(atoms)
    once, settled = active_set_from(potential, iter(structures)), active_set_from(potential, structures)

    def largest(active_set):
        grades = np.array([evaluate(potential, atoms, active_set=active_set).gamma for atoms in structures])
        return grades[:, :3].max(), grades[:, 3].max()

    assert largest(settled)[0] <= SWAP_TOLERANCE + 1e-6 < largest(once)[0] < 3.0
    assert largest(settled)[1] > SWAP_TOLERANCE  # atoms without weight do not count as seen


def test_a_short_stream_keeps_everything():
    stream = CandidateStream(30)
    rows = rows_of_rank(30)[:20]
    for row in rows:
        stream.add(row[None])
    assert (stream.result() == rows).all()
    with pytest.raises(ValueError, match='NaN or inf'):
        stream.add(np.full((1, 30), np.nan))


def test_non_finite_is_infinite_in_grades_and_refused_as_candidate():
    _, inverse, _ = select_active(rows_of_rank(30))
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


def write_damaged(path, damage):
    build_active_set({'Al': rows_of_rank(30)}).write(path)
    if damage == 'text':
        path.write_text('x')
    elif damage == 'empty':
        path.write_bytes(b'')
    elif damage.startswith('cut'):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * float(damage[3:]))])
    elif damage == 'flipped':
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 1
        path.write_bytes(bytes(whole))
    elif damage == 'no element':
        with path.open('wb') as handle:
            np.savez(handle)
    else:
        with path.open('wb') as handle:
            np.savez(handle, Al={'oblong': np.ones((2, 3)), 'nan': np.full((2, 2), np.nan)}[damage])


@pytest.mark.parametrize(
    'damage', ['text', 'empty', 'cut0.3', 'cut0.99', 'flipped', 'no element', 'oblong', 'nan']
)
def test_damaged_files_are_refused_by_name(tmp_path, damage):
    write_damaged(tmp_path / 'broken.asi', damage)
    with pytest.raises(ValueError, match=r'broken\.asi'):
        ActiveSet.read(tmp_path / 'broken.asi')


def test_a_set_of_another_potential_is_refused_and_the_order_of_elements_does_not_matter():
    potential = SimpleNamespace(elements=('Al', 'Ni'), n_functions=(20, 30))
    sizes = dict(zip(potential.elements, potential.n_functions, strict=True))
    rows = {element: rows_of_rank(size, width=size) for element, size in sizes.items()}
    inverses = build_active_set(rows).inverses
    turned = ActiveSet(inverses={element: inverses[element] for element in reversed(sizes)}).of(potential)
    assert tuple(turned.inverses) == potential.elements
    for wrong in ({'Al': inverses['Al']}, {**inverses, 'Ni': np.eye(3)}, {**inverses, 'Cu': np.eye(3)}):
        with pytest.raises(ValueError, match='built for another potential'):
            ActiveSet(inverses=wrong).of(potential)
