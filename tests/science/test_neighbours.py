"""Neighbour pairs against ASE's list, made anew and kept."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.science.neighbours import VerletList, pairs_of

CUTOFF = 4.3


def sorted_rows(first, second, vectors):
    return np.array(sorted(map(tuple, np.c_[first, second, np.round(vectors, 8)])))


def assert_equal(pairs, atoms):
    i, j, vectors = neighbor_list('ijD', atoms, CUTOFF)
    assert len(pairs.second) == len(i) == pairs.starts[-1]
    np.testing.assert_allclose(
        sorted_rows(pairs.first, pairs.second, pairs.vectors), sorted_rows(i, j, vectors), atol=2e-8
    )


def structure(atoms):
    return atoms.positions, np.asarray(atoms.cell), atoms.pbc


@pytest.mark.parametrize(
    'atoms',
    [
        bulk('Cu', a=3.6, cubic=True) * (2, 1, 1),
        bulk('Cu', a=3.6),
        Atoms('Cu4', [[0, 0, 0], [2.2, 0.3, 0], [0, 2.4, 50.0], [1.5, -70.0, 2.0]]),
        Atoms('Cu3', [[0, 0, 0], [2.2, 0, 0], [0, 0, 3.0]], cell=[5.0, 0, 0], pbc=[True, False, False]),
        Atoms('Cu'),
        Atoms(),
    ],
    ids=['supercell', 'one atom', 'cluster', 'wire', 'free atom', 'nothing'],
)
def test_fresh_and_kept_lists_equal_those_of_ase(atoms):
    kept = VerletList(CUTOFF)
    if len(atoms):
        assert_equal(pairs_of(*structure(atoms), CUTOFF), atoms)
        assert_equal(kept.pairs(*structure(atoms)), atoms)
    assert len(pairs_of(*structure(atoms), CUTOFF).starts) == len(atoms) + 1


def test_a_kept_list_sees_every_change():
    """Moved a little: the same list; periodic or not, stretched, moved far, other atoms: a new one, always right."""
    atoms, kept = bulk('Cu', a=3.6, cubic=True) * (2, 2, 2), VerletList(CUTOFF, skin=1.0)
    assert_equal(kept.pairs(*structure(atoms)), atoms)
    atoms.rattle(0.05, seed=1)
    assert_equal(kept.pairs(*structure(atoms)), atoms)
    assert kept.n_builds == 1
    atoms.pbc = [True, True, False]
    assert_equal(kept.pairs(*structure(atoms)), atoms)
    atoms.pbc = True
    assert_equal(kept.pairs(*structure(atoms)), atoms)
    assert kept.n_builds == 3
    atoms.set_cell(atoms.cell * 1.3, scale_atoms=True)
    assert_equal(kept.pairs(*structure(atoms)), atoms)
    atoms.positions[3] += [1.9, 0.7, 0.0]
    assert_equal(kept.pairs(*structure(atoms)), atoms)
    del atoms[5]
    assert_equal(kept.pairs(*structure(atoms)), atoms)
    atoms.set_cell(np.zeros((3, 3)))
    atoms.pbc = False
    assert_equal(kept.pairs(*structure(atoms)), atoms)


@pytest.mark.parametrize('side', [0.0, 6.0])
def test_free_sides_hold_no_atom_back(side):
    """A cluster that drifts and grows out of its box, whatever the box says where nothing is periodic."""
    rng = np.random.default_rng(4)
    atoms, kept = Atoms('Cu6', rng.uniform(0, 5, size=(6, 3)), cell=[side] * 3, pbc=False), VerletList(CUTOFF)
    for _ in range(4):
        atoms.positions += rng.uniform(-9, 6, size=3) + rng.normal(scale=0.8, size=(6, 3))
        assert_equal(kept.pairs(*structure(atoms)), atoms)
        assert_equal(pairs_of(*structure(atoms), CUTOFF), atoms)


def test_the_order_does_not_depend_on_wrapping():
    atoms = bulk('Cu', a=3.6, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=3)
    found = VerletList(CUTOFF).pairs(*structure(atoms))
    again = VerletList(CUTOFF).pairs(*structure(atoms))
    assert found.vectors.tobytes() == again.vectors.tobytes() and found.second.tobytes() == again.second.tobytes()
    assert (np.diff(found.starts) == np.bincount(found.first)).all() and (np.diff(found.first) >= 0).all()
