"""Other compositions: quasirandom structures, substituted crystals, and what they are made in."""

import sys
from itertools import product

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.science.config import PoolConfig
from aiida_pyacemaker.science.pools import MELTING_POINTS_K, melting_point, temperatures
from aiida_pyacemaker.science.pools.generators.alloys import (
    Alloy,
    IcetMissing,
    make_sqs,
    make_substituted,
    nearby_compositions,
)
from aiida_pyacemaker.science.pools.images import ShortestVectors
from aiida_pyacemaker.science.pools.lattice import _hermite_normal_forms, compact_supercell_of

ALLOY = Alloy(lattice='fcc', volume=14.0, counts={'Cu': 8, 'Au': 8})
PLAIN = {'amplitudes': (0.05,), 'strain_max': 0.02}


def test_the_composition_and_its_neighbours_have_whole_atoms():
    found = nearby_compositions({'Fe': 1, 'Pt': 1}, n_atoms=32, step=0.125)
    assert found == [{'Fe': 16, 'Pt': 16}, {'Fe': 12, 'Pt': 20}, {'Fe': 20, 'Pt': 12}]
    ternary = nearby_compositions({'Al': 2, 'Cu': 1, 'Ni': 1}, n_atoms=10, step=0.2)
    assert all(sum(counts.values()) == 10 and min(counts.values()) > 0 for counts in ternary)
    assert ternary[0] == {'Al': 5, 'Cu': 3, 'Ni': 2} and len({tuple(c.values()) for c in ternary}) == len(ternary)


def test_superlattices_are_counted_as_they_should_be():
    # sublattices of index n of a three-dimensional lattice: OEIS A001001
    assert [sum(1 for _ in _hermite_normal_forms(n)) for n in range(1, 9)] == [1, 7, 13, 35, 31, 91, 57, 155]
    cubic = compact_supercell_of(bulk('Cu', a=3.6), 4)
    assert cubic.cell.angles() == pytest.approx([90] * 3) and cubic.cell.lengths() == pytest.approx([3.6] * 3)
    with pytest.raises(ValueError, match='multiple of the 2 atoms'):
        compact_supercell_of(bulk('Si'), 5)


def test_quasirandom_structures_have_the_pairs_of_a_random_alloy():
    pytest.importorskip('icet', reason='icet is not installed: pip install "aiida-pyacemaker[pools]"')
    made = make_sqs(ALLOY, count=2, **PLAIN, rng=np.random.default_rng(0))
    for atoms in made:
        assert atoms.symbols.count('Cu') == atoms.symbols.count('Au') == 8
    first, second = neighbor_list('ij', made[0], 3.0)  # 12 nearest neighbours at 2.7 Å
    assert len(first) == 16 * 12
    unlike = (made[0].numbers[first] != made[0].numbers[second]).mean()
    assert unlike == pytest.approx(0.5, abs=0.03)
    assert made[0].get_volume() == pytest.approx(16 * 14.0)
    again = make_sqs(ALLOY, count=1, **PLAIN, rng=np.random.default_rng(0))
    assert np.array_equal(again[0].numbers, made[0].numbers)


def test_without_icet_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'icet', None)
    with pytest.raises(IcetMissing, match=r'n_sqs above 0 needs icet.*aiida-pyacemaker\[pools\]'):
        make_sqs(ALLOY, count=1, **PLAIN, rng=np.random.default_rng(0))


def test_substitution_changes_stoichiometry_and_volume_with_it():
    host = bulk('Cu', a=3.6, cubic=True) * (2, 1, 1)
    made = make_substituted(host, elements=('Cu', 'Al'), amplitudes=(0.01,), count=30, rng=np.random.default_rng(1))
    counts = [atoms.symbols.count('Al') for atoms in made]
    assert len(set(counts)) > 4
    full = max(made, key=lambda atoms: atoms.symbols.count('Al'))
    # covalent radii 1.21 and 1.32 Å (Cordero et al. 2008)
    part = full.symbols.count('Al') / 8
    expected = host.get_volume() * ((1 - part) + part * (1.21 / 1.32) ** 3)
    assert full.get_volume() == pytest.approx(expected)


def test_shortest_vectors_are_those_of_a_search_over_all_images():
    rng = np.random.default_rng(2)
    for pbc in (True, [True, True, False], False):
        cell = np.array([[3.0, 0, 0], [2.4, 2.0, 0], [1.1, -0.7, 4.0]])
        vectors = rng.normal(scale=3.0, size=(100, 3))
        steps = [range(-9, 10) if periodic else (0,) for periodic in np.broadcast_to(pbc, 3)]
        images = np.array(list(product(*steps))) @ cell
        lengths = np.linalg.norm(vectors[:, None] + images, axis=2).min(axis=1)
        assert ShortestVectors(cell, pbc).lengths(vectors) == pytest.approx(lengths)


def test_temperatures_follow_from_the_highest_melting_point():
    assert melting_point(['Fe', 'Pt']) == 2041.4
    assert temperatures(['Al', 'Cu'], given=(), fractions=(0.25, 0.75)) == (340.0, 1020.0)
    assert temperatures(['O'], given=(), fractions=(0.5,)) == (100.0,)  # nothing moves at 27 K
    assert temperatures(['O'], given=(500.0,), fractions=(0.5,)) == (500.0,)
    assert PoolConfig().largest_subsystem(structures_given=False) == 2
    assert PoolConfig().largest_subsystem(structures_given=True) == 0
    assert PoolConfig(subsystems=1).largest_subsystem(structures_given=True) == 1


def test_melting_points_are_those_of_the_library_they_came_from():
    core = pytest.importorskip('pymatgen.core', reason='pymatgen is not installed')
    for symbol in ('H', 'O', 'Mg', 'Al', 'Si', 'Fe', 'Cu', 'Pt', 'W', 'U'):
        assert pytest.approx(float(core.Element(symbol).melting_point), abs=0.1) == MELTING_POINTS_K[symbol]
