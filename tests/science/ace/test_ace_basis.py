"""Sizes and content of new bases; counts are pacemaker's own or from character theory."""

from collections import Counter
from itertools import permutations
from math import factorial

import numpy as np
import pytest
from ace_examples import binary_potential

from aiida_pyacemaker.science.ace import AcePotential, build_potential
from aiida_pyacemaker.science.ace.basis import select_functions
from aiida_pyacemaker.science.ace.couplings import coupling, independent_couplings
from aiida_pyacemaker.science.config import FitConfig


def ranks(functions):
    return dict(sorted(Counter(len(f.mus) for f in functions).items()))


def test_one_element_selection_is_pacemakers():
    """pacemaker's 250 functions for nradmax 15/6/4/3/2 and lmax 0/3/3/2/2, counted in its output file."""
    chosen = select_functions(0, 1, (15, 6, 4, 3, 2), (0, 3, 3, 2, 2), 250)
    assert ranks(chosen) == {1: 13, 2: 64, 3: 114, 4: 52, 5: 7}


def test_two_element_selection_is_pacemakers():
    """pacemaker's binary block of 60 (of 120 per element), nradmax 8/3/2/1, lmax 0/2/2/1, counted in its file."""
    for centre in (0, 1):
        mixed = [f for f in select_functions(centre, 2, (8, 3, 2, 1), (0, 2, 2, 1), 120) if {*f.mus} != {centre}]
        assert ranks(mixed) == {1: 8, 2: 30, 3: 18, 4: 4}
        pure = [f for f in select_functions(centre, 2, (8, 4, 2, 1), (0, 3, 2, 1), 120) if {*f.mus} == {centre}]
        assert ranks(pure) == {1: 8, 2: 32, 3: 18, 4: 2}


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
    small = build_potential(['Si'], FitConfig(max_body_order=2, number_of_functions_per_element=9))
    assert ranks(small.functions[0]) == {1: 9}


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
    assert changed.digest == potential.digest and changed.plan is potential.plan
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
        (['Si'], {'radial_base': 'ChebLinear'}, 'jump at the cut-off'),
        (['Si'], {'max_body_order': 5, 'nradmax_by_orders': (3, 2)}, 'expected 4 for max_body_order 5'),
    ],
)
def test_impossible_bases_are_refused(elements, settings, words):
    with pytest.raises(ValueError, match=words):
        build_potential(elements, FitConfig(**settings))
