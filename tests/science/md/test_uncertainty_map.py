"""A run's grades by temperature, place and element: brute force, bounds, and what is drawn."""

import numpy as np
import pytest
from ase.build import bulk
from matplotlib.figure import Figure

from aiida_pyacemaker.report.uncertainty_figures import draw_against_place, draw_against_temperature
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.md.uncertainty_map import N_PLACES, N_WORST, join_maps, map_uncertainty


@pytest.fixture
def run():
    """Return five frames of rock salt, the last ungraded; γ grows with temperature, one chlorine is worst."""
    rng = np.random.default_rng(4)
    cells = [bulk('NaCl', 'rocksalt', a=5.64, cubic=True) * (3, 2, 2) for _ in range(5)]
    for atoms in cells:
        atoms.rattle(0.1, rng=rng)
    gamma = rng.uniform(0.3, 1.0, size=(5, len(cells[0])))
    gamma[3, int(np.flatnonzero(cells[0].numbers == 17)[5])] = np.inf
    gamma[4] = np.nan
    return Frames.from_atoms(cells, gamma=gamma.ravel()), [0, 10, 20, 30, 40], [300.0, 400.0, np.nan, 600.0, 700.0]


def test_every_column_is_what_a_loop_over_atoms_finds(run):
    frames, steps, temperatures = run
    found = map_uncertainty(frames, steps, temperatures)
    assert found['number'].tolist() == [11, 17] and found['step'].tolist() == [0, 10, 20, 30]
    np.testing.assert_array_equal(found['temperature_K'], temperatures[:4])
    place = np.full((3, N_PLACES, 2), np.nan)
    for row in range(4):
        atoms, gamma = frames.atoms(row), frames.gamma[frames.span(row)]
        for kind, number in enumerate((11, 17)):
            mine = gamma[atoms.numbers == number]
            assert found['largest'][row, kind] == mine.max()
            assert found['median'][row, kind] == np.sort(mine)[len(mine) // 2]
        for atom, fraction in enumerate(atoms.get_scaled_positions()):
            for axis in range(3):
                spot = axis, int(fraction[axis] * N_PLACES), int(atoms.numbers[atom] == 17)
                place[spot] = np.fmax(place[spot], gamma[atom])
    np.testing.assert_array_equal(found['place'], place)
    assert np.isinf(found['worst_gamma'][0]) and found['worst_step'][0] == 30
    worst = frames.atoms(3).positions[found['worst_atom'][0]]
    np.testing.assert_array_equal(found['worst_position'][0], worst)


def test_the_size_is_bounded_and_runs_join(run):
    frames, steps, temperatures = run
    one = map_uncertainty(frames, steps, temperatures)
    both = join_maps([one, one])
    assert both['step'].tolist() == [0, 10, 20, 30] * 2 and both['largest'].shape == (8, 2)
    assert len(both['worst_gamma']) == N_WORST and np.all(np.isinf(both['worst_gamma'][:2]))
    np.testing.assert_array_equal(both['place'], one['place'])
    silicon = Frames.from_atoms([bulk('Si')], gamma=np.ones(2))
    with pytest.raises(ValueError, match='maps of Na-Cl, Si'):
        join_maps([one, map_uncertainty(silicon, [0], [1.0])])
    with pytest.raises(ValueError, match='1 steps and 2 temperatures for 1 frames'):
        map_uncertainty(silicon, [0], [1.0, 2.0])
    assert len(map_uncertainty(frames.select([4]), [40], [1.0])['worst_step']) == 0


def test_what_is_drawn_are_the_columns(run):
    found = map_uncertainty(*run)
    left, right = Figure().subplots(1, 2)
    draw_against_temperature(left, found)
    draw_against_place(right, found, measure='teacher')
    lines = {line.get_label(): line.get_ydata() for line in left.lines}
    np.testing.assert_array_equal(np.sort(lines['Na, largest']), np.sort(found['largest'][:, 0]))
    assert np.isnan(lines['Cl, largest']).sum() == 1  # inf is on no logarithmic axis
    assert {line.get_label() for line in right.lines} == {f'{e}, along {a}' for e in ('Na', 'Cl') for a in 'abc'}
    assert (left.get_xlabel(), left.get_yscale()) == ('temperature (K)', 'log')
    assert right.get_ylabel() == 'disagreement of the teacher (eV/Å)'
