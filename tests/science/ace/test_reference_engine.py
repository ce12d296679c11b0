"""The oracle of the fast engine against pyace, and against derivatives and limits where pyace says nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ace_examples import FIXTURES, MIXED, alloy, binary_potential, reference, reference_names
from ase import Atoms

from aiida_pyacemaker.science.ace import AcePotential, Bond, Embedding
from aiida_pyacemaker.science.ace.model.core_repulsion import nearest_switch, pair_core_density
from aiida_pyacemaker.science.ace.reference_engine import evaluate_reference, interpolated, spherical_harmonics

VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
KINDS = ('distance', 'density', 'zbl')


def assert_as_pyace(found, values):
    """Tolerances of the reference files, all relative to the largest magnitude of the structure from 1 on."""
    for name, tolerance in (('energies', 1e-8), ('forces', 1e-7)):
        expected = np.array(values[name])
        atol = tolerance * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(getattr(found, name), expected, rtol=0, atol=atol)
    if all(values['pbc']):
        expected = np.array(values['stress_voigt_ase'])
        atol = 1e-7 * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(found.stress[VOIGT], expected, rtol=0, atol=atol)
    for index, row in values['B_projections'].items():
        np.testing.assert_allclose(found.projections[int(index)], row, rtol=0, atol=1e-7 * np.abs(row).max())


@pytest.mark.parametrize('name', reference_names())
def test_pyace_values(name):
    potential, _, frames = reference(name)
    with np.load(FIXTURES / f'{name}.asi') as stored:
        active_set = dict(stored)
    tolerance = 1e-5 if max(map(np.linalg.cond, active_set.values())) > 1e11 else 1e-6
    for atoms, values in frames:
        found = evaluate_reference(potential, atoms)
        assert_as_pyace(found, values)
        rows = zip(found.projections, values['symbols'], strict=True)
        grades = [np.abs(row @ active_set[symbol]).max() for row, symbol in rows]
        np.testing.assert_allclose(grades, values['gamma'], rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize('kind', KINDS)
def test_pyace_values_of_everything_mixed(kind):
    """Two elements, a base and a cut-off a pair, both embeddings, core repulsion, orders to 6, every inner cut-off."""
    potential = AcePotential.read(MIXED / f'AlNi_mixed_{kind}.yaml')
    assert {len(f.mus) for functions in potential.functions for f in functions} == {1, 2, 3, 4, 5, 6}
    for values in json.loads((MIXED / f'AlNi_mixed_{kind}.json').read_text())['structures']:
        atoms = Atoms(values['symbols'], values['positions'], cell=values['cell'], pbc=values['pbc'])
        assert_as_pyace(evaluate_reference(potential, atoms), values)


def test_nodes_are_needed_where_a_function_jumps():
    """ChebLinear jumps at the cut-off; LAMMPS's nodes make it a steep slope, which the exact function does not have."""
    potential, _, frames = reference('Cu_ChebLinear_lin')
    errors = {True: [], False: []}
    for tabulated, found in errors.items():
        for atoms, values in frames:
            energies = evaluate_reference(potential, atoms, tabulated=tabulated).energies
            found.append(np.abs(energies - values['energies']).max() / np.abs(values['energies']).max())
    assert max(errors[True]) < 1e-12 and max(errors[False]) > 1e-3


def close_alloy():
    """Return the alloy with pairs through the inner cut-offs of the mixed potentials, away from their steps."""
    atoms = alloy()
    atoms.positions[1] += 0.16 * atoms.get_distance(1, 0, vector=True)
    return atoms


@pytest.mark.parametrize('kind', KINDS)
def test_forces_and_stress_are_derivatives(kind):
    """Central differences on the exact functions; relative to the largest component."""
    potential, atoms, h = AcePotential.read(MIXED / f'AlNi_mixed_{kind}.yaml'), close_alloy(), 1e-5

    def energy(copy):
        return evaluate_reference(potential, copy, tabulated=False).energies.sum()

    found = evaluate_reference(potential, atoms, tabulated=False)
    for index, axis in ((0, 0), (1, 2), (2, 1)):
        moved = [atoms.copy(), atoms.copy()]
        for sign, copy in zip((1, -1), moved, strict=True):
            copy.positions[index, axis] += sign * h
        numeric = -(energy(moved[0]) - energy(moved[1])) / (2 * h)
        assert abs(found.forces[index, axis] - numeric) < 1e-7 * np.abs(found.forces).max()
    for a, b in ((0, 0), (1, 2)):
        strained = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += 0.5 * sign * h
            strain[b, a] += 0.5 * sign * h
            copy = atoms.copy()
            copy.set_cell(atoms.cell @ strain, scale_atoms=True)
            strained.append(energy(copy))
        numeric = (strained[0] - strained[1]) / (2 * h) / atoms.get_volume()
        assert abs(found.stress[a, b] - numeric) < 1e-7 * np.abs(found.stress).max()


@pytest.mark.parametrize('kind', KINDS)
def test_inner_cutoffs_act_in_the_derivative_test(kind):
    """Without the inner cut-off the energy of the same structure is another."""
    potential, atoms = AcePotential.read(MIXED / f'AlNi_mixed_{kind}.yaml'), close_alloy()
    bonds = {pair: replace(bond, core_repulsion=(0.0, 0.0)) for pair, bond in potential.bonds.items()}
    bare = evaluate_reference(replace(potential, bonds=bonds), atoms).energies
    assert np.abs(evaluate_reference(potential, atoms).energies - bare).max() > 1e-3


def test_zbl_rules_alone_below_the_inner_cutoff():
    """Energy differences of a dimer are those of the screened nuclei, φ(r/a) K Z²/r, with the values of the paper."""
    potential = AcePotential.read(MIXED / 'AlNi_mixed_zbl.yaml')
    r, z = np.array([0.5, 0.7, 0.9]), 28
    x = r * 2 * z**0.23 / 0.4685
    weights, rates = (0.18175, 0.50986, 0.28022, 0.02817), (3.1998, 0.94229, 0.4029, 0.20162)
    phi = sum(w * np.exp(-rate * x) for w, rate in zip(weights, rates, strict=True))
    expected = 14.399645351950543 * z * z / r * phi
    found = [evaluate_reference(potential, Atoms('Ni2', [[0, 0, 0], [0, 0, d]])).energies.sum() for d in r]
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-8)


def test_nearest_neighbour_is_the_deepest_in_its_inner_cutoff():
    shape = {'base': 'SBessel', 'parameters': (5.25,), 'cutoff': 5.0, 'cutoff_width': 0.1}
    shape['coefficients'] = np.zeros((1, 1, 1))
    wide, narrow = (Bond(**shape, inner_cutoff=r_in, inner_width=0.5, inner_cutoff_type='zbl') for r_in in (2.0, 1.2))
    nearest, kept, slope = nearest_switch(np.array([1.1, 1.75]), [narrow, wide])
    assert (nearest, kept) == (1, pytest.approx(0.5)) and slope == pytest.approx(30 / 16 / 0.5)
    assert nearest_switch(np.zeros(0), []) == (-1, 1.0, 0.0)


@pytest.mark.parametrize('kind', KINDS)
def test_core_density_slope_and_end(kind):
    potential = AcePotential.read(MIXED / f'AlNi_mixed_{kind}.yaml')
    bond, r, h = potential.bonds[0, 1], np.linspace(0.6, 4.39, 200), 1e-6
    values, slopes = pair_core_density(r, bond, ('Al', 'Ni'))
    numeric = (pair_core_density(r + h, bond, ('Al', 'Ni'))[0] - pair_core_density(r - h, bond, ('Al', 'Ni'))[0]) / (
        2 * h
    )
    np.testing.assert_allclose(slopes, numeric, rtol=0, atol=1e-8 * np.abs(slopes).max())
    assert values.min() >= 0.0 and values[0] > 1.0
    assert not pair_core_density(np.array([4.4, 5.0]), bond, ('Al', 'Ni'))[0].any()


@pytest.mark.parametrize('kind', ['FinnisSinclair', 'FinnisSinclairShiftedScaled'])
@pytest.mark.parametrize('exponent', [0.5, 1.0, 1.7])
def test_embedding_slopes(kind, exponent):
    embedding = Embedding(kind=kind, parameters=(1.3, exponent, 0.0, 1.0))
    densities = np.array([-2.0, -0.3, -2e-6, 2e-6, 0.3, 4.0])
    h = 1e-4 * np.abs(densities)
    table = np.stack([densities, np.full(6, 7.0)], axis=1)
    values, slopes = embedding.evaluate(table)
    step = np.stack([h, np.zeros(6)], axis=1)
    numeric = (embedding.evaluate(table + step)[0] - embedding.evaluate(table - step)[0]) / (2 * h)
    np.testing.assert_allclose(slopes[:, 0], numeric, rtol=1e-5)
    assert not slopes[:, 1].any()
    np.testing.assert_allclose(embedding.evaluate(-table)[0], -values, rtol=1e-12)


def test_embedding_limits():
    """A power far from zero; near zero both leave zero with a finite slope, 1 + y - x and w^(1-m)."""
    far = np.array([[50.0]])
    for kind in ('FinnisSinclair', 'FinnisSinclairShiftedScaled'):
        assert Embedding(kind=kind, parameters=(2.0, 0.5)).evaluate(far)[0] == pytest.approx(2 * 50**0.5, rel=1e-12)
    values, slopes = Embedding(parameters=(1.0, 0.5)).evaluate(np.array([[0.0], [1e-7]]))
    np.testing.assert_allclose(values, [0.0, 1.25e-7], rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(slopes[:, 0], 1.0 + 0.5 - 0.25, rtol=1e-6)
    values, slopes = Embedding(kind='FinnisSinclair', parameters=(1.0, 0.5)).evaluate(np.array([[0.0], [1e-11]]))
    np.testing.assert_allclose(values, [0.0, 1e-8])
    np.testing.assert_allclose(slopes, 1e3)


def test_impossible_parts_are_refused():
    potential = binary_potential()
    bond = potential.bonds[0, 1]
    for part, change, words in (
        (Embedding(), {'kind': 'Power'}, 'kind is Power, expected one of FinnisSinclair'),
        (Embedding(), {'parameters': (1.0, 1.0, 2.0)}, 'a prefactor and an exponent each'),
        (bond, {'base': 'Hermite'}, 'base is Hermite, expected one of ChebExpCos'),
        (bond, {'inner_cutoff_type': 'far'}, 'inner_cutoff_type is far, expected one of distance'),
        (bond, {'coefficients': np.zeros((2, 2))}, r'shape \(2, 2\), expected \(n, l'),
        (potential, {'bonds': {(0, 0): bond}}, r'bonds of \[\(0, 0\)\] and functions of 2 elements, expected'),
        (potential, {'functions': potential.functions[:1]}, 'functions of 1 elements, expected'),
        (potential, {'embeddings': (Embedding(),)}, 'embeddings has 1 entries, expected one an element'),
        (potential, {'embeddings': (Embedding(parameters=(1, 1, 1, 0.5)),) * 2}, r'expected \(282, 2\)'),
    ):
        with pytest.raises(ValueError, match=words):
            replace(part, **change)


def test_what_is_linear():
    assert Embedding().is_linear and not Embedding(parameters=(1.0, 0.5)).is_linear
    assert not Embedding(rho_core_cut=1.0, drho_core_cut=2.0).is_linear  # fades without a core density
    linear = binary_potential()
    for kind, expected in (('distance', True), ('density', True), ('zbl', False)):
        bonds = {pair: replace(bond, inner_cutoff_type=kind) for pair, bond in linear.bonds.items()}
        assert replace(linear, bonds=bonds).is_linear is expected


def test_linear_coefficients_are_those_of_a_linear_potential():
    linear = binary_potential()
    np.testing.assert_array_equal(linear.linear_coefficients, linear.coefficients[:, 0])
    for name in ('Cu_SBessel_nl', 'Cu_fitted'):
        with pytest.raises(ValueError, match=r'trainer\.pacemaker'):
            _ = reference(name)[0].linear_coefficients


def test_harmonics_and_gradients():
    """Y00, Y10 and the addition theorem; gradients from differences along great circles."""
    unit = np.random.default_rng(0).normal(size=(20, 3))
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    np.testing.assert_allclose(spherical_harmonics(0, 0, unit)[0], 1.0)
    np.testing.assert_allclose(spherical_harmonics(1, 0, unit)[0], np.sqrt(3) * unit[:, 2])
    np.testing.assert_allclose(spherical_harmonics(1, 1, unit)[0], -np.sqrt(1.5) * (unit[:, 0] + 1j * unit[:, 1]))
    along = np.cross(unit, [0.3, -0.5, 0.8])
    for ell in range(6):
        values = [spherical_harmonics(ell, m, unit)[0] for m in range(-ell, ell + 1)]
        np.testing.assert_allclose(np.sum(np.abs(values) ** 2, axis=0), 2 * ell + 1, rtol=1e-12)
        for m in range(-ell, ell + 1):
            ends = [unit + sign * 1e-6 * along for sign in (1, -1)]
            plus, minus = (spherical_harmonics(ell, m, e / np.linalg.norm(e, axis=1)[:, None])[0] for e in ends)
            numeric = (plus - minus) / 2e-6
            np.testing.assert_allclose(np.sum(spherical_harmonics(ell, m, unit)[1] * along, axis=1), numeric, atol=2e-8)


def test_nodes_end_at_the_cutoff():
    bond = reference('Cu_SBessel_lin')[0].bonds[0, 0]

    def one(r, _):
        return np.ones((1, len(r))), np.zeros((1, len(r)))

    values, _ = interpolated(one, np.array([4.99, 4.9995, 5.0, 6.0]), bond, 0.001)
    np.testing.assert_allclose(values[0], [1.0, 0.5, 0.0, 0.0], atol=1e-9)
