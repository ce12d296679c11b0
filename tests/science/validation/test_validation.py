"""Properties against exact relations, gates that catch what is wrong."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.tersoff import Tersoff, TersoffParameters

from aiida_pyacemaker.science.config import ValidationConfig
from aiida_pyacemaker.science.validation import (
    MdProfile,
    born_stable,
    check_gates,
    elastic_constants,
    is_cubic,
    measure_phase,
    point_group,
    run_miniature_md,
    symmetrise,
    unmeasured_phase,
    volumes_around,
)
from aiida_pyacemaker.science.validation.equation_of_state import fit_birch_murnaghan


@pytest.fixture(scope='module')
def copper():
    return measure_phase(bulk('Cu', a=3.7), EMT())


def test_birch_murnaghan_returns_the_numbers_its_energies_were_made_of():
    volumes = volumes_around(40.0)
    eta = (41.0 / volumes) ** (1 / 3)
    energies = -3.0 + 9 * 0.6 * 41.0 / 16 * (eta**2 - 1) ** 2 * (6 + 4.7 * (eta**2 - 1) - 4 * eta**2)
    fit = fit_birch_murnaghan(volumes, energies)
    assert fit['volume0'] == pytest.approx(41.0, rel=1e-6)
    assert fit['bulk_modulus'] == pytest.approx(0.6 / units.GPa, rel=1e-5)
    assert fit['pressure_derivative'] == pytest.approx(4.7, rel=1e-3)


@pytest.mark.parametrize('energies', [np.full(9, np.nan), -((np.arange(9) - 4.0) ** 2)])
def test_a_curve_without_a_minimum_is_not_a_number(energies):
    assert np.isnan(fit_birch_murnaghan(volumes_around(40.0), energies)['bulk_modulus'])


def test_bulk_modulus_of_the_curve_is_that_of_the_constants(copper):
    constants = copper.elastic
    # 0.1 %: the curve spans 16 % in volume, the constants 1 % in strain
    assert (constants[0, 0] + 2 * constants[0, 1]) / 3 == pytest.approx(copper.eos.bulk_modulus, rel=1e-3)
    assert copper.cubic and born_stable(constants)
    np.testing.assert_allclose(constants, constants.T)
    np.testing.assert_allclose(constants.diagonal()[[2, 5]], constants.diagonal()[[0, 3]])


def test_central_forces_obey_the_cauchy_relation():
    argon = bulk('Ar', 'fcc', a=1.55)
    phase = measure_phase(argon, LennardJones(sigma=1.0, epsilon=0.01, rc=4.0, smooth=True))
    assert phase.elastic[0, 1] == pytest.approx(phase.elastic[3, 3], rel=2e-3)  # C12 = C44 without pressure


def test_hexagonal_crystals_keep_their_symmetry():
    phase = measure_phase(bulk('Cu', 'hcp', a=2.55, c=4.1), EMT())
    constants = phase.elastic
    assert not phase.cubic and len(point_group(phase.atoms)) == 24
    assert constants[5, 5] == pytest.approx((constants[0, 0] - constants[0, 1]) / 2, rel=1e-9)
    assert constants[0, 2] == pytest.approx(constants[1, 2]) and constants[3, 3] == pytest.approx(constants[4, 4])


def test_a_supercell_has_the_constants_of_its_cell(copper):
    constants = elastic_constants(copper.atoms * (2, 2, 1), EMT())
    # BFGS stops at 2 meV/Å, which is the whole difference; the supercell's point group is that of the crystal
    np.testing.assert_allclose(constants, copper.elastic, atol=0.5)
    assert is_cubic(point_group(copper.atoms * (2, 2, 1)))


def tersoff_silicon():
    """Tersoff's third silicon, J. Tersoff, Phys. Rev. B 38, 9902 (1988)."""
    parameters = TersoffParameters(
        m=3.0,
        gamma=1.0,
        lambda3=0.0,
        c=100390.0,
        d=16.217,
        h=-0.59825,
        n=0.78734,
        beta=1.1e-6,
        lambda2=1.73222,
        B=471.18,
        R=2.85,
        D=0.15,
        lambda1=2.4799,
        A=1830.8,
    )
    return Tersoff({('Si', 'Si', 'Si'): parameters})


def test_silicon_of_tersoff_has_its_published_constants():
    phase = measure_phase(bulk('Si', a=5.5), tersoff_silicon())
    found = phase.elastic[[0, 0, 3], [0, 1, 3]]
    # H. Balamane, T. Halicioglu, W. A. Tiller, Phys. Rev. B 46, 2250 (1992): a = 5.432 Å, C11 = 142.5,
    # C12 = 75.4, C44 = 69.0 GPa with relaxed ions (118.8 clamped); stated to 0.1 GPa
    assert np.cbrt(4 * phase.eos.volume0) == pytest.approx(5.432, abs=2e-3)
    np.testing.assert_allclose(found, [142.5, 75.4, 69.0], atol=1.0)
    assert phase.eos.bulk_modulus == pytest.approx(97.8, abs=1.0)


def test_averaging_is_a_projection_and_keeps_isotropy():
    rotations = point_group(bulk('Cu'))
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(6, 6))
    once = symmetrise(raw + raw.T, rotations)
    np.testing.assert_allclose(symmetrise(once, rotations), once, atol=1e-12)
    np.testing.assert_allclose(once[:3, :3].diagonal(), once[0, 0])
    assert np.abs(once[:3, 3:]).max() < 1e-12
    isotropic = np.diag([2.0] * 3 + [1.0] * 3) + np.pad(np.full((3, 3), 1.5), (0, 3))
    np.testing.assert_allclose(symmetrise(isotropic, rotations), isotropic, atol=1e-12)


def test_born_stability_is_the_sign_of_the_softest_strain(copper):
    soft = copper.elastic.copy()
    soft[0, 1] = soft[1, 0] = soft[0, 0] + 1.0  # the tetragonal shear (C11 - C12) / 2 turns negative
    assert not born_stable(soft)
    assert not born_stable(np.full((6, 6), np.nan))


def profile(end='completed', gamma=1.0, steps=2000):
    sampled = np.arange(0, steps + 1, 10)
    ones = np.ones(len(sampled))
    return MdProfile(step=sampled, gamma_max=gamma * ones, gamma_mean=0.5 * ones, temperature=300 * ones, end=end)


def test_a_student_that_is_its_teacher_passes_every_gate_in_fixed_order(copper):
    gates = check_gates(copper, copper, profile(), ValidationConfig())
    names = ['lattice', 'bulk_modulus', 'C11', 'C12', 'C44', 'born_stability', 'md_steps', 'md_max_gamma']
    assert [gate.name for gate in gates] == names
    assert all(gate.passed for gate in gates) and gates[0].value == 0.0
    assert gates[0].student == pytest.approx(copper.eos.volume0 ** (1 / 3))


def failed_gates(student, teacher, run):
    return {gate.name for gate in check_gates(student, teacher, run, ValidationConfig()) if not gate.passed}


def test_injected_faults_are_caught_by_their_gates(copper):
    swollen = measure_phase(bulk('Ag', a=4.0), EMT())
    assert {'lattice', 'bulk_modulus'} <= failed_gates(swollen, copper, profile())
    assert failed_gates(copper, copper, profile(end='too_hot', steps=50)) == {'md_steps', 'md_max_gamma'}
    assert failed_gates(copper, copper, profile(gamma=12.0)) == {'md_max_gamma'}
    assert failed_gates(copper, copper, profile(gamma=np.nan)) == {'md_max_gamma'}
    nothing = unmeasured_phase(copper.atoms, copper.eos.volumes)
    numbers = {'lattice', 'bulk_modulus', 'C11', 'C12', 'C44', 'born_stability'}
    assert failed_gates(nothing, copper, profile()) == numbers


def test_non_cubic_crystals_are_gated_on_the_diagonal():
    hcp = measure_phase(bulk('Cu', 'hcp', a=2.55, c=4.1), EMT())
    names = [gate.name for gate in check_gates(hcp, hcp, profile(), ValidationConfig())]
    assert names[2:8] == ['C11', 'C22', 'C33', 'C44', 'C55', 'C66']


def run_copper(calculator, gamma, n_steps=45):
    rng = np.random.default_rng(0)
    cell = bulk('Cu', cubic=True) * 2
    return run_miniature_md(cell, calculator, gamma=gamma, n_steps=n_steps, temperature_K=300, rng=rng)


def test_the_run_is_sampled_every_ten_steps_and_seeded():
    first = run_copper(EMT(), lambda atoms: np.linspace(0, 2, len(atoms)), n_steps=40)
    assert first.step.tolist() == [0, 10, 20, 30, 40] and first.end == 'completed'
    assert first.gamma_max.tolist() == [2.0] * 5 and first.gamma_mean == pytest.approx(1.0)
    assert first.largest_gamma == 2.0
    again = run_copper(EMT(), lambda atoms: np.linspace(0, 2, len(atoms)), n_steps=40)
    np.testing.assert_array_equal(first.temperature, again.temperature)


def test_the_run_is_as_long_as_was_asked():
    assert run_copper(EMT(), lambda atoms: np.ones(len(atoms)), n_steps=25).step.tolist() == [0, 10, 20, 25]
    assert run_copper(EMT(), lambda atoms: np.ones(len(atoms)), n_steps=3).step.tolist() == [0, 3]


def test_a_lost_run_says_how_it_was_lost():
    calm = lambda atoms: np.ones(len(atoms))  # noqa: E731
    explosive = LennardJones(sigma=4.0, epsilon=1.0, rc=8.0)
    assert run_copper(explosive, calm).end in ('too_hot', 'non_finite', 'overlap')
