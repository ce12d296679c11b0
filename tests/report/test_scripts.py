"""The scripts that print what the documentation quotes: their arithmetic on numbers that are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

from aiida_pyacemaker.science.frames import SHELL_BUFFER, SHELL_CAP, SHELL_CORE, Frames

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    monkeypatch.syspath_prepend(ROOT / 'examples' / 'silicon')
    import silicon_seeds
    import theory_gap

    yield silicon_seeds, theory_gap
    for name in ('silicon_seeds', 'theory_gap'):
        sys.modules.pop(name)


def result(seeds, seed, before, after):
    return seeds.SeedResult(
        pk=seed, seed=seed, exit_status=0, n_dft_calls=5, n_rounds=2, counts=np.full(len(before), 3),
        before=3 * np.square(before), after=3 * np.square(after),
    )


def test_interval_of_equal_cutouts_is_a_point_and_is_reproducible(scripts):
    seeds, _ = scripts
    counts, equal = np.array([3, 6, 3]), 0.25 * np.array([3.0, 6.0, 3.0])
    assert seeds.rmse(equal, counts) == pytest.approx(0.5)
    assert seeds.bootstrap_interval(equal, counts, np.random.default_rng(1)) == pytest.approx((0.5, 0.5))
    mixed = np.array([0.0, 1.0, 4.0])
    low, high = seeds.bootstrap_interval(mixed, counts, np.random.default_rng(1))
    assert (low, high) == seeds.bootstrap_interval(mixed, counts, np.random.default_rng(1))
    assert 0 <= low < seeds.rmse(mixed, counts) < high <= np.sqrt(4 / 3)


def test_every_seed_and_the_pool_have_a_line(scripts):
    seeds, _ = scripts
    lines = seeds.table([result(seeds, 1, [1.0, 1.0], [0.5, 0.5]), result(seeds, 2, [1.0], [0.5])], seed=0)
    assert [line.split()[0] for line in lines[1:4]] == ['1', '2', 'pooled']
    assert '1.000 [1.000, 1.000]   0.500 [0.500, 0.500]' in lines[3]
    assert lines[3].split()[1:4] == ['10', '4', '3']  # SCFs, rounds, cutouts
    assert lines[4].endswith('0.500 [0.500, 0.500]')


def test_gap_counts_cores_apart_and_leaves_caps_out(scripts):
    from ase import Atoms

    _, gap = scripts
    shell = np.array([SHELL_CORE, SHELL_BUFFER, SHELL_CAP])
    forces = np.array([[1.0, 1, 1], [3, 3, 3], [9, 9, 9]])
    frames = Frames.from_atoms([Atoms('Si2H', positions=np.eye(3))], forces=forces, shell=shell)
    rows = gap.gap_rows(frames, {'DFT': forces, 'teacher': 0.5 * forces})
    assert [(name, count) for name, count, _ in rows] == [('all but caps', 2), ('core', 1)]
    assert rows[0][2] == pytest.approx({'|F| DFT': np.sqrt(5), 'teacher - DFT': np.sqrt(5) / 2})
    assert rows[1][2] == pytest.approx({'|F| DFT': 1.0, 'teacher - DFT': 0.5})
