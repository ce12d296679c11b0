"""Invariances, derivatives, exact limits, determinism, non-finite input of the ACE engine."""

import numpy as np
import pytest
from ace_examples import alloy, binary_potential
from ase import Atoms
from ase.build import bulk, fcc111
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from aiida_pyacemaker.science.ace import design_rows, evaluate, evaluate_neighbours
from aiida_pyacemaker.science.ace.evaluator import neighbours_of


@pytest.fixture(scope='module')
def potential():
    return binary_potential()


def energy(potential, atoms):
    return evaluate(potential, atoms).energies.sum()


def test_forces_and_stress_are_derivatives(potential):
    """Central differences; relative to the largest component."""
    atoms, h = alloy(), 1e-4
    found = evaluate(potential, atoms)
    for index, axis in ((0, 0), (1, 2), (5, 1)):
        moved = [atoms.copy(), atoms.copy()]
        for sign, copy in zip((1, -1), moved, strict=True):
            copy.positions[index, axis] += sign * h
        numeric = -(energy(potential, moved[0]) - energy(potential, moved[1])) / (2 * h)
        assert abs(found.forces[index, axis] - numeric) < 1e-6 * np.abs(found.forces).max()
    for voigt, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        strained = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += 0.5 * sign * h
            strain[b, a] += 0.5 * sign * h
            copy = atoms.copy()
            copy.set_cell(atoms.cell @ strain, scale_atoms=True)
            strained.append(energy(potential, copy))
        numeric = (strained[0] - strained[1]) / (2 * h) / atoms.get_volume()
        assert abs(found.stress[voigt] - numeric) < 1e-6 * np.abs(found.stress).max()


def test_rotation_permutation_translation(potential):
    atoms = alloy()
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    order = np.random.default_rng(1).permutation(len(atoms))
    other = atoms[order]
    other.set_cell(atoms.cell @ turn.T)
    other.positions = (atoms.positions[order] + [3.1, -0.4, 8.8]) @ turn.T
    first, second = (evaluate(potential, a, with_projections=True) for a in (atoms, other))
    scale = np.abs(first.forces).max()
    np.testing.assert_allclose(second.energies, first.energies[order], rtol=0, atol=1e-10)
    np.testing.assert_allclose(second.forces, first.forces[order] @ turn.T, rtol=0, atol=1e-10 * scale)
    for mine, index in zip(second.projections, order, strict=True):
        np.testing.assert_allclose(mine, first.projections[index], rtol=0, atol=1e-9 * np.abs(mine).max())
    mirrored = atoms.copy()
    mirrored.set_cell(-atoms.cell)
    mirrored.positions = -atoms.positions
    np.testing.assert_allclose(evaluate(potential, mirrored).energies, first.energies, rtol=0, atol=1e-10)


def test_two_far_copies_and_supercell(potential):
    cluster = Atoms('AlNi3', [[0, 0, 0], [2.3, 0.2, 0], [0.1, 2.5, 0.3], [1.4, 1.2, 2.0]])
    far = cluster.copy()
    far.positions += [0.0, 60.0, 0.0]
    one, two = evaluate(potential, cluster), evaluate(potential, cluster + far)
    np.testing.assert_allclose(two.energies, np.tile(one.energies, 2), rtol=0, atol=1e-12)
    np.testing.assert_allclose(two.forces, np.tile(one.forces, (2, 1)), rtol=0, atol=1e-11)
    assert np.isnan(one.stress).all()
    single = alloy()
    np.testing.assert_allclose(energy(potential, single * (2, 1, 3)), 6 * energy(potential, single), rtol=1e-12)


def test_free_atom_has_its_reference_energy(potential):
    assert evaluate(potential, Atoms('Ni')).energies.tolist() == [-2.5]
    assert evaluate(potential, Atoms('Al')).energies.tolist() == [-1.5]


def test_forces_and_torques_vanish_in_sum(potential):
    cluster = Atoms('AlNi3', [[0, 0, 0], [2.3, 0.2, 0], [0.1, 2.5, 0.3], [1.4, 1.2, 2.0]])
    forces = evaluate(potential, cluster).forces
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cross(cluster.positions, forces).sum(axis=0), 0, atol=1e-11)


def test_same_input_same_bits(potential):
    atoms = alloy() * (2, 2, 2)
    first, second = (evaluate(potential, atoms.copy(), with_projections=True) for _ in range(2))
    assert first.energies.tobytes() == second.energies.tobytes()
    assert first.forces.tobytes() == second.forces.tobytes()
    assert first.stress.tobytes() == second.stress.tobytes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first.projections, second.projections, strict=True))


def test_list_with_skin_and_ghosts(potential):
    """Entries beyond the cut-off change no bit; images as ghost atoms give the same forces, gathered."""
    atoms = alloy()
    species = potential.species_index(atoms.get_chemical_symbols())
    plain = evaluate_neighbours(potential, species, *neighbours_of(atoms, potential.cutoff))
    first, neighbour, vectors = neighbours_of(atoms, potential.cutoff + 1.0)
    skin = evaluate_neighbours(potential, species, first, neighbour, vectors)
    np.testing.assert_allclose(skin.energies, plain.energies, rtol=0, atol=1e-12)
    np.testing.assert_allclose(skin.virial, plain.virial, rtol=1e-12)
    ghosts = np.arange(len(neighbour)) + len(atoms)
    found = evaluate_neighbours(potential, np.r_[species, species[neighbour]], first, ghosts, vectors)
    gathered = found.forces[: len(atoms)].copy()
    np.add.at(gathered, neighbour, found.forces[len(atoms) :])
    np.testing.assert_allclose(gathered, plain.forces, rtol=0, atol=1e-11 * np.abs(plain.forces).max())
    assert found.projections is None and found.energies.shape == (len(atoms),)


def test_neighbour_lists_that_do_not_fit_are_refused(potential):
    with pytest.raises(ValueError, match='neighbour list has first_index'):
        evaluate_neighbours(potential, np.zeros(2, int), np.array([0, 1, 3]), np.array([1, 0]), np.ones((2, 3)))


@pytest.mark.parametrize('pbc', [(False, False, False), (True, True, False), (True, True, True)])
def test_neighbours_equal_those_of_ase(pbc):
    slab = fcc111('Ni', (2, 2, 3), periodic=True, vacuum=4.0)
    if not all(pbc):
        slab = fcc111('Ni', (2, 2, 3), periodic=False)
        slab.positions += [0.0, 0.0, -17.0]
    slab.pbc = pbc
    first, neighbour, vectors = neighbours_of(slab, 5.0)
    i, j, expected = neighbor_list('ijD', slab, 5.0)
    found = np.c_[np.repeat(np.arange(len(slab)), np.diff(first)), neighbour, vectors.round(8)]
    wanted = np.c_[i, j, expected.round(8)]
    np.testing.assert_allclose(np.array(sorted(map(tuple, found))), np.array(sorted(map(tuple, wanted))), atol=2e-8)


def test_non_finite_positions_stay_non_finite(potential):
    atoms = alloy()
    atoms.positions[2, 1] = np.nan

    class Grade:
        def gamma(self, species, projections):
            raise AssertionError('no projections exist')

    found = evaluate(potential, atoms, active_set=Grade())
    assert np.isnan(found.energies).all() and np.isnan(found.forces).all() and np.isinf(found.gamma).all()
    together = evaluate(potential, Atoms('Ni2', np.zeros((2, 3))))
    assert not np.isfinite(together.forces).any()
    vectors = np.array([[np.nan, 0.0, 0.0], [np.nan, 0.0, 0.0]])
    species, first = np.ones(2, int), np.array([0, 1, 2])
    pair = evaluate_neighbours(potential, species, first, np.array([1, 0]), vectors, with_projections=True)
    assert np.isnan(pair.energies).all() and np.isnan(pair.forces).all() and np.isnan(pair.projections).any()


def test_unknown_element_is_named(potential):
    for compute in (evaluate, design_rows):
        with pytest.raises(ValueError, match='Cu is unknown to the potential, expected one of Al, Ni'):
            compute(potential, bulk('Cu'))


def test_design_rows_times_coefficients(potential):
    atoms = alloy()
    rows, found = design_rows(potential, atoms), evaluate(potential, atoms, with_projections=True)
    c = potential.linear_coefficients
    reference = sum(potential.reference_energies[symbol] for symbol in atoms.get_chemical_symbols())
    assert rows.energy @ c + reference == pytest.approx(found.energies.sum(), abs=1e-10)
    np.testing.assert_allclose(rows.forces @ c, found.forces, rtol=0, atol=1e-11 * np.abs(found.forces).max())
    np.testing.assert_allclose(rows.stress @ c, found.stress, rtol=0, atol=1e-11 * np.abs(found.stress).max())
    for mine, other in zip(rows.projections, found.projections, strict=True):
        # two engines sum in different orders: round-off of the largest projection
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12 * np.abs(other).max())
    totals = [np.zeros(n) for n in potential.n_functions]
    for species, row in zip(potential.species_index(atoms.get_chemical_symbols()), rows.projections, strict=True):
        totals[species] += row
    np.testing.assert_allclose(rows.energy, np.concatenate(totals), rtol=1e-12, atol=1e-12)


def test_design_rows_column_by_column(potential):
    """Every column is the potential with one coefficient 1, so no column hides behind a small coefficient."""
    atoms = alloy()
    rows = design_rows(potential, atoms)
    for column in range(0, len(potential.coefficients), 7):
        unit = potential.with_coefficients(np.eye(len(potential.coefficients))[column])
        found = evaluate(unit, atoms)
        scale = max(np.abs(found.forces).max(), 1e-3)
        np.testing.assert_allclose(rows.forces[:, :, column], found.forces, rtol=0, atol=1e-11 * scale)
    assert np.isnan(design_rows(potential, Atoms('Ni2', [[0, 0, 0], [2.4, 0, 0]])).stress).all()
