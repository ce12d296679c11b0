"""The halting rule as LAMMPS runs it equals its NumPy twin, for every way a grade can misbehave."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from stand_in import PAIR_LINES, Table, run_segment

from aiida_pyacemaker.science.config import ActiveLearningThresholds, MdConfig
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.md import (
    Segment,
    choose_learning_frame,
    find_halt,
    is_physical,
    read_log,
    write_script,
    write_structure,
)

NAN, INF = np.nan, np.inf
QUIET = [0, 0, 0, 0]
FOUR_ATOMS = Atoms('Cu4', positions=np.eye(4, 3) * 4.0, cell=[8.0, 8.0, 8.0], pbc=True)
GRADES_LINE = 'fix gam all pair 10 pace/extrapolation gamma 1'

# grades of four atoms, check by check; rule: call 5, danger 10, three checks in a row
TRUTH = {
    'quiet': ([QUIET] * 6, None, None),
    'below call for ever': ([[4.9, 5.0, 0, 0]] * 6, None, None),
    'three in a row': ([[6, 0, 0, 0]] * 6, ('halted', 2), ('halted', 2)),
    'the window fills first': ([[6, 0, 0, 0], [6, 0, 0, 0], QUIET, QUIET, QUIET], None, None),
    'the streak is reset': ([[6, 0, 0, 0]] * 2 + [QUIET] + [[6, 0, 0, 0]] * 3, ('halted', 5), ('halted', 5)),
    'every second check': ([[6, 0, 0, 0], QUIET] * 4, None, None),
    'the streak wanders over atoms': ([[6, 0, 0, 0], [0, 6, 0, 0], [0, 0, 6, 0], QUIET], ('halted', 2), None),
    'wanders, then stays': (
        [[6, 0, 0, 0], [0, 6, 0, 0], [0, 6, 0, 0], [0, 6, 0, 0]],
        ('halted', 2),
        ('halted', 3),
    ),
    'danger once': ([QUIET, QUIET, [0, 0, 11, 0], QUIET], ('danger', 2), ('danger', 2)),
    'danger at the first check': ([[11, 0, 0, 0], QUIET], ('danger', 0), ('danger', 0)),
    'danger wins': ([[6, 0, 0, 0], [6, 0, 0, 0], [11, 0, 0, 0]], ('danger', 2), ('danger', 2)),
    'NaN of one atom is danger': ([QUIET, [0, NAN, 0, 0], QUIET], ('danger', 1), ('danger', 1)),
    'NaN of all atoms is danger': ([QUIET, [NAN] * 4, QUIET], ('danger', 1), ('danger', 1)),
    'inf is danger': ([QUIET, [0, INF, 0, 0], QUIET], ('danger', 1), ('danger', 1)),
}


def three_in_a_row(**rule):
    """Return the rule of the tables, whatever the default streak is."""
    return ActiveLearningThresholds(**{'smooth_steps': 3, **rule})


def run_table(folder, table, persistence, at_setup=QUIET, atoms=FOUR_ATOMS, **rule):
    """Return (kind, check) of the halt that LAMMPS found, or None."""
    evaluator = Table([at_setup, *table])
    elements = sorted(set(atoms.symbols))
    status, log = run_segment(
        folder,
        lambda *_: evaluator,
        md={'n_steps': 10 * len(table), 'ensemble': 'nve', 'temperature_start_K': 1e-6},
        rule={'persistence': persistence, 'smooth_steps': 3, **rule},
        atoms=atoms,
        elements=elements,
        pair_lines=(PAIR_LINES[0], f'pair_coeff * * potential.yaml potential.asi {" ".join(elements)}'),
    )
    assert status == 0, log.error
    if not log.halts:
        assert log.ending == 'completed'
        assert log.last_step == 10 * len(table)
        return None
    name = 'danger' if 'danger' in log.halts else 'call'
    assert log.last_step == log.halts[name][0]
    return {'danger': 'danger', 'call': 'halted'}[name], log.halts[name][0] // 10 - 1


def twin(table, **rule):
    halt = find_halt(table, three_in_a_row(**rule))
    return None if halt is None else (halt.kind, halt.check)


@pytest.mark.parametrize('name', TRUTH)
def test_truth_table(tmp_path, name):
    table, by_system, by_atom = TRUTH[name]
    assert twin(table, persistence='system') == by_system
    assert twin(table, persistence='atom') == by_atom
    assert run_table(tmp_path / 'system', table, 'system') == by_system
    assert run_table(tmp_path / 'atom', table, 'atom') == by_atom


def as_formula(table):
    """Return LAMMPS' formula of a table of grades: row k is the check at step 10 (k + 1)."""
    words = {'inf': 'exp(1000)', 'nan': 'exp(1000)-exp(1000)'}
    cells = [
        f'ternary((step=={10 * (row + 1)})*(id=={atom + 1}),{words.get(str(value), value)},0)'
        for row, values in enumerate(table)
        for atom, value in enumerate(values)
        if value != 0
    ]
    return '+'.join(['0', *cells])


def run_stock(folder, table, rule, atoms):
    """Return (kind, check) of the halt of a stock ``lmp``, its γ made up and nothing else replaced, or None."""
    made_up = f'variable made_up atom "{as_formula(table)}"\nfix gam all store/state 10 v_made_up'
    elements = sorted(set(atoms.symbols))
    segment = Segment(
        md=MdConfig(n_steps=10 * len(table), dump_every=10, ensemble='nve', temperature_start_K=1e-6),
        thresholds=rule,
        elements=elements,
        pair_lines=('pair_style zero 3.0', 'pair_coeff * *'),
        seed=1,
    )
    text = write_script(segment)
    assert text.count(GRADES_LINE) == 1
    folder.mkdir()
    write_structure(folder / 'start.data', atoms, elements)
    (folder / 'in.lmp').write_text(text.replace(GRADES_LINE, made_up))
    lmp = Path(sys.executable).parent / 'lmp'
    subprocess.run([lmp, '-in', 'in.lmp', '-screen', 'none'], cwd=folder, check=True, timeout=60)
    log = read_log((folder / 'log.lammps').read_text())
    if not log.halts:
        return None
    kind = 'danger' if 'danger' in log.halts else 'call'
    return {'danger': 'danger', 'call': 'halted'}[kind], log.halts[kind][0] // 10 - 1


@pytest.mark.parametrize(
    'name', ['three in a row', 'the streak is reset', 'the streak wanders over atoms', 'wanders, then stays',
             'danger once', 'danger wins', 'NaN of one atom is danger', 'NaN of all atoms is danger', 'inf is danger'],
)  # fmt: skip
def test_the_script_as_it_is_halts_a_stock_program_with_made_up_grades(tmp_path, name):
    """No engine of ours in between: the text runs in ``lmp``; its ``pace`` lines are replaced and nothing else."""
    table, *wanted = TRUTH[name]
    for persistence, halt in zip(('system', 'atom'), wanted, strict=True):
        rule = three_in_a_row(persistence=persistence)
        assert run_stock(tmp_path / persistence, table, rule, FOUR_ATOMS) == halt, persistence


# two copper atoms, then two of silicon; call and danger are 5 and 10 for copper, 20 and 40 for silicon
PER_ELEMENT = {
    'silicon may': ([[0, 0, 19, 20]] * 5, None, None),
    'silicon may not be above its own': ([[0, 0, 19, 39]] * 3, ('halted', 2), ('halted', 2)),
    'copper may not': ([[6, 0, 0, 0]] * 4, ('halted', 2), ('halted', 2)),
    'one after the other': ([[6, 0, 19, 0], [0, 0, 21, 0], [0, 6, 0, 0]], ('halted', 2), None),
    'danger of copper': ([QUIET, [11, 0, 0, 0], QUIET], ('danger', 1), ('danger', 1)),
    'danger of silicon': ([QUIET, [0, 0, 39, 0], [0, 0, 0, 41]], ('danger', 2), ('danger', 2)),
    'NaN of silicon': ([QUIET, [0, 0, 0, NAN], QUIET], ('danger', 1), ('danger', 1)),
    'inf of silicon': ([QUIET, [0, 0, INF, 0], QUIET], ('danger', 1), ('danger', 1)),
}


@pytest.mark.parametrize('name', PER_ELEMENT)
def test_truth_table_of_thresholds_per_element(tmp_path, name):
    table, *wanted = PER_ELEMENT[name]
    atoms = FOUR_ATOMS.copy()
    atoms.symbols = ['Cu', 'Cu', 'Si', 'Si']
    own = {'per_element': {'Si': {'threshold_call_dft': 20.0, 'threshold_danger': 40.0}}}
    for persistence, halt in zip(('system', 'atom'), wanted, strict=True):
        rule = three_in_a_row(persistence=persistence, **own)
        found = find_halt(table, rule, atoms.numbers)
        assert (None if found is None else (found.kind, found.check)) == halt
        assert run_table(tmp_path / persistence, table, persistence, atoms=atoms, **own) == halt
        assert run_stock(tmp_path / f'stock_{persistence}', table, rule, atoms) == halt


@pytest.mark.parametrize('seed', range(6))
def test_random_grades_halt_lammps_and_the_twin_at_the_same_check(tmp_path, seed):
    rng = np.random.default_rng(seed)
    table = rng.exponential(2.6, size=(12, 4))
    table[rng.random(table.shape) < 0.005] = NAN
    for persistence in ('system', 'atom'):
        rule = {'persistence': persistence, 'threshold_danger': 20.0, 'smooth_steps': 1 + seed % 3}
        found = run_table(tmp_path / persistence, table, **rule)
        assert found == twin(table, **rule)


def test_a_grade_without_finite_force_is_infinite(tmp_path):
    class Broken(Table):
        def evaluate(self, elements, pairs, *, with_gamma):
            energy, forces, virial, gamma = super().evaluate(elements, pairs, with_gamma=with_gamma)
            if gamma is not None and gamma[0] == 1.0:
                forces[2] = NAN
            return energy, forces, virial, gamma

    evaluator = Broken([QUIET, QUIET, [1.0, 0, 0, 0], QUIET])
    status, log = run_segment(tmp_path, lambda *_: evaluator, md={'n_steps': 30, 'ensemble': 'nve'}, atoms=FOUR_ATOMS)
    assert status == 0
    assert log.halts['danger'][0] == 20


def test_the_check_of_the_first_step_belongs_to_the_segment_before(tmp_path):
    assert run_table(tmp_path, [QUIET] * 3, 'system', at_setup=[99, 0, 0, 0]) is None


def test_above_ten_thousand_atoms_the_streak_belongs_to_one_atom():
    table = np.zeros((4, 10_001))
    table[np.arange(4), np.arange(4)] = 6.0
    rule = ActiveLearningThresholds()
    assert find_halt(table, rule) is None
    assert find_halt(table[:, :10_000], rule).kind == 'halted'


def grade_frames(gamma, distance=2.5):
    """Return pairs of copper atoms, one frame for each entry of ``gamma``, ``distance`` apart."""
    distances = np.broadcast_to(distance, len(gamma))
    pairs = [Atoms('Cu2', positions=[[0, 0, 0], [r, 0, 0]], cell=[20.0] * 3, pbc=True) for r in distances]
    return Frames.from_atoms(pairs, gamma=np.repeat(np.asarray(gamma, dtype=float), 2))


def test_the_earliest_physical_frame_of_the_excursion_is_learnt():
    rule = ActiveLearningThresholds()
    steps = [10, 20, 30, 40, 50, 60]
    assert choose_learning_frame(grade_frames([1, 6, 1, 6, 7, 8]), steps, rule) == 3
    overlapping = grade_frames([1, 6, 1, 6, 7, 8], [2.5, 2.5, 2.5, 1.5, 2.5, 2.5])
    assert choose_learning_frame(overlapping, steps, rule) == 4
    all_broken = grade_frames([1, 3, 1, NAN, INF, 8], [2.5, 2.5, 2.5, 1.5, 1.5, 1.5])
    assert choose_learning_frame(all_broken, steps, rule) == 1
    assert choose_learning_frame(grade_frames([1] * 6), steps, rule) is None
    with pytest.raises(ValueError, match='steps has 2 entries'):
        choose_learning_frame(grade_frames([1, 2, 3]), [1, 2], rule)


def test_among_many_atoms_an_excursion_belongs_to_the_atom_that_halted():
    """Some atom is above in every frame; atom 1 from the fourth on."""
    grades = [[8, 0], [8, 0], [8, 1], [0, 6], [8, 6], [0, 7]]
    pairs = [Atoms('Cu2', positions=[[0, 0, 0], [2.5, 0, 0]], cell=[20.0] * 3, pbc=True) for _ in grades]
    frames = Frames.from_atoms(pairs, gamma=np.array(grades, dtype=float).ravel())
    steps = list(range(10, 70, 10))
    assert choose_learning_frame(frames, steps, ActiveLearningThresholds(persistence='system')) == 0
    assert choose_learning_frame(frames, steps, ActiveLearningThresholds(persistence='atom')) == 3


def test_a_frame_is_physical_down_to_three_quarters_of_the_covalent_sum():
    limit = 0.75 * 2 * 1.32
    frames = grade_frames([0, 0, 0], [limit + 1e-6, limit - 1e-6, 2.5])
    assert [is_physical(frames, index) for index in range(3)] == [True, False, True]
    broken = frames.with_columns(energy=np.array([0.0, 0.0, INF]))
    assert not is_physical(broken, 2)
