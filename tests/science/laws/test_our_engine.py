"""Our engine obeys the laws: over random bases and structures, and as a fitted student with its baseline."""

import numpy as np
import pytest
from ace_examples import LINEAR, reference, with_random_coefficients
from ase import Atoms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.laws import LAWS, assert_potential_obeys_laws
from aiida_pyacemaker.science.laws.examples import bond_length
from aiida_pyacemaker.science.student import Student

SLOW = ('smooth cut-off', 'repulsive wall')
RADIAL_BASES = ('ChebExpCos', 'ChebPow', 'SBessel')  # ChebLinear jumps at the cut-off
ELEMENTS = ('Al', 'C', 'Cu', 'H', 'Ni', 'Si')


@st.composite
def potentials(draw):
    """Return an ACE of one to three elements, any radial base, two to five bodies, with coefficients of every rank."""
    elements = draw(st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=3, unique=True))
    rank = draw(st.integers(1, 4 if len(elements) < 3 else 3))
    momenta = sorted(draw(st.lists(st.integers(0, 3), min_size=rank - 1, max_size=rank - 1)), reverse=True)
    radial = sorted(draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank)), reverse=True)
    basis = {
        'bonds': {'ALL': {'radbase': draw(st.sampled_from(RADIAL_BASES)), 'rcut': draw(st.floats(3.0, 5.5))}},
        'functions': {
            'number_of_functions_per_element': draw(st.integers(5, 90)),
            'ALL': {'nradmax_by_orders': radial, 'lmax_by_orders': [0, *momenta]},
        },
    }
    potential = build_potential(elements, FitConfig(basis=basis))
    return with_random_coefficients(potential, seed=draw(st.integers(0, 999)))


@st.composite
def structures(draw, elements):
    """Return a random periodic or free structure whose closest pairs are 0.6 of the covalent sum apart."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    count = draw(st.integers(2, 6))
    symbols = rng.choice(elements, count)
    longest = max(bond_length(a, b) for a in symbols for b in symbols)
    sites = np.stack(np.meshgrid(*[range(2)] * 3, indexing='ij'), axis=-1).reshape(-1, 3)[rng.permutation(8)[:count]]
    cell = 2.0 * longest * (np.eye(3) + rng.uniform(-0.1, 0.1, (3, 3)))
    atoms = Atoms(symbols, scaled_positions=sites / 2.0, cell=cell, pbc=True)
    atoms.positions += rng.uniform(-0.2, 0.2, (count, 3)) * longest
    return atoms if draw(st.booleans()) else Atoms(symbols, positions=atoms.positions)


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_random_bases_and_structures_obey_the_laws(data):
    potential = data.draw(potentials())
    tried = [data.draw(structures(potential.elements)) for _ in range(2)]
    assert_potential_obeys_laws(potential, tried, skip=SLOW, seed=data.draw(st.integers(0, 99)))


@pytest.mark.parametrize('base', RADIAL_BASES)
def test_cut_offs_of_every_radial_base_are_smooth(base):
    basis = {
        'bonds': {'ALL': {'radbase': base, 'rcut': 4.5}},
        'functions': {'ALL': {'nradmax_by_orders': (5, 3, 2), 'lmax_by_orders': (0, 2, 2)}},
    }
    config = FitConfig(basis=basis, number_of_functions_per_element=40)
    potential = with_random_coefficients(build_potential(['Al', 'Ni'], config))
    assert_potential_obeys_laws(potential, skip=[law for law in LAWS if law != 'smooth cut-off'])


NONLINEAR = ('AlNi_ChebPow_mixed_embed', 'Cu_ChebPow_FS_nl', 'Cu_SBessel_nl', 'Cu_SBessel_nl_corerep', 'Cu_fitted')


@pytest.mark.parametrize('name', [*LINEAR, *NONLINEAR])
def test_potentials_of_pacemaker_obey_the_laws(name):
    potential, _, frames = reference(name)
    tried = [atoms for atoms, values in frames if np.abs(values['forces']).max() < 1e3][:3]
    assert_potential_obeys_laws(potential, tried, skip=SLOW)


def test_functions_that_jump_at_the_cut_off_are_found():
    potential, _, _ = reference('Cu_ChebLinear_lin')
    jumping = [law for law in LAWS if law != 'smooth cut-off']
    with pytest.raises(AssertionError, match='smooth cut-off: Cu that leaves Cu2Cu: jump of'):
        assert_potential_obeys_laws(potential, skip=jumping)


def test_a_student_with_its_baseline_obeys_all_laws():
    config = FitConfig(number_of_functions_per_element=40, cutoff=4.5)
    potential = with_random_coefficients(build_potential(['Al', 'Ni'], config))
    student = Student(potential=potential, baseline=fit_baseline(['Al', 'Ni'], 'ZBL'))
    findings = assert_potential_obeys_laws(student)
    assert [finding.law for finding in findings] == list(LAWS)


def test_a_student_without_a_wall_is_found():
    basis = {'bonds': {'ALL': {'r_in': 0.0, 'delta_in': 0.0}}}
    config = FitConfig(basis=basis, number_of_functions_per_element=40, cutoff=4.5)
    bare = with_random_coefficients(build_potential(['Al', 'Ni'], config))
    with pytest.raises(AssertionError, match='repulsive wall: weakest dE/dr'):
        assert_potential_obeys_laws(bare, skip=[law for law in LAWS if law != 'repulsive wall'])
