"""Sizes and content of new bases; counts are pacemaker's own or from character theory."""

from collections import Counter
from itertools import permutations
from math import factorial

import numpy as np
import pytest
from ace_examples import binary_potential

from aiida_pyacemaker.science.ace import AcePotential, build_potential
from aiida_pyacemaker.science.ace.basis import pacemaker_section, resolve_basis, select_functions
from aiida_pyacemaker.science.ace.model.couplings import coupling, independent_couplings
from aiida_pyacemaker.science.config import BasisConfig, FitConfig, FunctionsConfig


def ranks(functions):
    return dict(sorted(Counter(len(f.mus) for f in functions).items()))


def functions_of(count, **orders):
    limits = {
        key: {'nradmax_by_orders': n_by_order, 'lmax_by_orders': l_by_order}
        for key, (n_by_order, l_by_order) in orders.items()
    }
    return FunctionsConfig(number_of_functions_per_element=count, **limits)


def test_one_element_selection_is_pacemakers():
    """pacemaker's 250 functions for nradmax 15/6/4/3/2 and lmax 0/3/3/2/2, counted in its output file."""
    chosen = select_functions(0, 1, functions_of(250, ALL=((15, 6, 4, 3, 2), (0, 3, 3, 2, 2))))
    assert ranks(chosen) == {1: 13, 2: 64, 3: 114, 4: 52, 5: 7}


def test_two_element_selection_is_pacemakers():
    """pacemaker's 120 per element of its AlNi fit, UNARY and BINARY limits apart, counted in its output file."""
    limits = functions_of(120, UNARY=((8, 4, 2, 1), (0, 3, 2, 1)), BINARY=((8, 3, 2, 1), (0, 2, 2, 1)))
    for centre in (0, 1):
        chosen = select_functions(centre, 2, limits)
        assert ranks([f for f in chosen if {*f.mus} != {centre}]) == {1: 8, 2: 30, 3: 18, 4: 4}
        assert ranks([f for f in chosen if {*f.mus} == {centre}]) == {1: 8, 2: 32, 3: 18, 4: 2}


def test_all_functions_of_small_limits_are_counted_by_hand():
    """One element, n ≤ 3/2/1, l ≤ 0/1/1: 3 of one factor; pairs of n at l = 0 and at l = 1, 3 each; 000, 011."""
    chosen = select_functions(0, 1, functions_of(None, ALL=((3, 2, 1), (0, 1, 1))))
    assert ranks(chosen) == {1: 3, 2: 6, 3: 2}
    two = functions_of(None, UNARY=((3,), (0,)), BINARY=((2,), (0,)), ALL=((1,), (0,)))
    assert ranks(select_functions(0, 3, two)) == {1: 3 + 2 + 2}  # the ternary block has no function of one factor


def invariants_by_characters(labels, ls):
    """
    Number of invariants of l's, symmetric under exchange of equal (label, l): ⟨Σ_σ Π χ⟩ over the rotation group.

    Molien's average: for every admissible permutation, each cycle of length k contributes χ_l(kω); integrate with
    (1 - cos ω)/π over 0..π.
    """
    omega, weights = np.polynomial.legendre.leggauss(200)
    omega, weights = 0.5 * np.pi * (omega + 1), 0.5 * np.pi * weights
    keys = list(zip(labels, ls, strict=True))
    total, count = 0.0, 0
    for order in permutations(range(len(ls))):
        if any(keys[a] != keys[b] for a, b in enumerate(order)):
            continue
        count += 1
        value = np.ones_like(omega)
        seen = set()
        for start in range(len(ls)):
            length, at = 0, start
            while at not in seen:
                seen.add(at)
                at, length = order[at], length + 1
            if length:
                half = 0.5 * length * omega
                small = np.abs(np.sin(half)) < 1e-12
                value *= np.where(small, 2 * ls[start] + 1, np.sin((2 * ls[start] + 1) * half) / np.sin(half))
        total += np.sum(weights * value * (1 - np.cos(omega)) / np.pi)
    assert count <= factorial(len(ls))
    return total / count


@pytest.mark.parametrize(
    ('labels', 'ls', 'size'),
    [
        ((1, 1), (3, 3), 1),
        ((1, 1, 1), (2, 2, 2), 1),
        ((1, 1, 1, 1), (1, 1, 1, 1), 1),
        ((1, 1, 2, 2), (1, 1, 1, 1), 2),
        ((1, 2, 3, 4), (1, 1, 1, 1), 3),
        ((1, 1, 1, 1), (2, 2, 2, 2), 1),
        ((1, 2, 3, 4), (2, 2, 2, 2), 5),
        ((1, 1, 1, 1, 1), (2, 2, 2, 2, 2), 1),
        ((1, 1, 1, 1, 2), (1, 1, 2, 2, 2), 4),
    ],
)
def test_independent_couplings_fill_the_space(labels, ls, size):
    assert invariants_by_characters(labels, ls) == pytest.approx(size, abs=1e-6)
    assert len(independent_couplings(tuple((label,) for label in labels), ls)) == size


def test_couplings_are_normalised_and_odd_sums_vanish():
    for ls, lint in (((1, 1), ()), ((1, 2, 3), (3,)), ((2, 2, 1, 1), (2, 2)), ((1, 2, 2, 1, 2), (2, 2, 2))):
        assert sum(value**2 for _, value in coupling(ls, lint)) == pytest.approx(1.0, abs=1e-12)
        assert all(sum(ms) == 0 for ms, _ in coupling(ls, lint))
    assert independent_couplings(((1,), (2,), (3,)), (1, 1, 1)) == ()


def test_projections_of_the_basis_are_independent():
    """On random environments the functions of each element have full rank: nothing is counted twice."""
    from ase import Atoms

    potential = binary_potential()
    rng = np.random.default_rng(5)
    rows = [[], []]
    for _ in range(60):
        atoms = Atoms(rng.choice(['Al', 'Ni'], size=8), rng.uniform(0, 4.5, size=(8, 3)))
        species = potential.species_index(atoms.get_chemical_symbols())
        for element, row in zip(species, potential.b_projections(atoms), strict=True):
            rows[element].append(row)
    for matrix, size in zip(map(np.array, rows), potential.n_functions, strict=True):
        singular = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0), compute_uv=False)
        assert len(singular) == size and singular[-1] > 1e-9 * singular[0]


def test_default_basis():
    potential = build_potential(['Si'], FitConfig(), bond_length=2.35)
    assert potential.n_functions == (200,) and potential.cutoff == pytest.approx(2.2 * 2.35)
    assert ranks(potential.functions[0]) == {1: 12, 2: 60, 3: 128}
    bond = potential.bonds[0, 0]
    assert (bond.inner_cutoff, bond.inner_width) == pytest.approx((0.7 * 2.22, 0.15 * 2.22))
    assert not potential.coefficients.any()
    functions = {'ALL': {'nradmax_by_orders': [12], 'lmax_by_orders': [0]}}
    small = build_potential(['Si'], FitConfig(basis={'functions': functions}, number_of_functions_per_element=9))
    assert ranks(small.functions[0]) == {1: 9}


def test_elements_are_all_that_a_basis_needs():
    """Largest covalent sum 2 × 1.24 (Ni) Å; Al 1.21: cut-off 2.2 and inner cut-off 0.7 of the sums."""
    basis = resolve_basis(['Ni', 'Al'], BasisConfig())
    assert basis.elements == ('Al', 'Ni') and list(basis.bonds) == ['AlAl', 'AlNi', 'NiAl', 'NiNi']
    assert [bond.rcut for bond in basis.bonds.values()] == pytest.approx([2.2 * 2.48] * 4)
    assert basis.bonds['AlNi'] == basis.bonds['NiAl'] and basis.bonds['AlNi'].r_in == pytest.approx(0.7 * 2.45)
    again = resolve_basis(['Al', 'Ni'], basis, bond_length=9.0)
    assert again.model_dump() == basis.model_dump()  # nothing is left to infer
    section = pacemaker_section(['Al', 'Ni'], BasisConfig())
    assert list(section) == ['elements', 'embeddings', 'bonds', 'functions', 'deltaSplineBins']
    assert list(section['functions']) == ['number_of_functions_per_element', 'UNARY', 'BINARY']
    with pytest.raises(ValueError, match='make them agree'):
        resolve_basis(['Al'], BasisConfig(elements=('Al', 'Ni')))


def test_bonds_are_as_specific_as_asked_for():
    bonds = {'ALL': {'rcut': 5.0, 'dcut': 0.02}, 'BINARY': {'rcut': 4.0}, 'NiAl': {'r_in': 1.0}}
    config = FitConfig.model_validate(FitConfig(basis={'bonds': bonds}).model_dump())
    potential = build_potential(['Al', 'Ni'], config)
    assert (potential.bonds[0, 0].cutoff, potential.bonds[0, 1].cutoff) == (5.0, 4.0)
    assert potential.bonds[1, 0].inner_cutoff == potential.bonds[0, 1].inner_cutoff == 1.0
    assert {bond.cutoff_width for bond in potential.bonds.values()} == {0.02}
    short = build_potential(['Al', 'Ni'], config.model_copy(update={'cutoff': 4.5}))
    assert {bond.cutoff for bond in short.bonds.values()} == {4.5}


def test_function_table_matches_functions():
    potential = binary_potential()
    table = potential.function_table()
    flat = [(element, f) for element, functions in enumerate(potential.functions) for f in functions]
    for row, (element, f) in zip(table, flat, strict=True):
        assert (row['element'], row['rank'], row['n_sum'], row['l_sum']) == (element, len(f.mus), sum(f.ns), sum(f.ls))
        assert tuple(row['ns'][: len(f.ns)]) == f.ns and not row['ns'][len(f.ns) :].any()


def test_digest_is_of_the_frozen_basis():
    potential = binary_potential()
    changed = potential.with_coefficients(2 * potential.coefficients).with_reference_energies({'Al': 1.0})
    assert changed.digest == potential.digest
    assert changed.reference_energies == {'Al': 1.0, 'Ni': 0.0}
    other = build_potential(['Al', 'Ni'], FitConfig(cutoff=4.3))
    assert other.digest != potential.digest
    with pytest.raises(ValueError, match='Cu is unknown'):
        potential.with_reference_energies({'Cu': 1.0})
    with pytest.raises(ValueError, match=r'coefficients has shape \(3,\)'):
        potential.with_coefficients(np.zeros(3))
    assert isinstance(changed, AcePotential) and not changed.coefficients.flags.writeable


@pytest.mark.parametrize(
    ('elements', 'settings', 'words'),
    [
        (['Xx'], {}, 'chemical symbols'),
        ([], {}, 'chemical symbols'),
        (['Si'], {'bonds': {'ALL': {'radbase': 'ChebLinear'}}}, 'jump at the cut-off'),
        (['Si'], {'embeddings': {'ALL': {'fs_parameters': (1, 0.5)}}}, r'not linear .* trainer\.pacemaker'),
        (['Si'], {'bonds': {'SiSi': {'core-repulsion': (100, 5)}}}, r'core-repulsion .* trainer\.pacemaker'),
        (['Si'], {'functions': {'ALL': {'nradmax_by_orders': (2,) * 6, 'lmax_by_orders': (0,) * 6}}}, '1 to 5 orders'),
    ],
)
def test_impossible_bases_are_refused(elements, settings, words):
    with pytest.raises(ValueError, match=words):
        build_potential(elements, FitConfig(basis=settings))
