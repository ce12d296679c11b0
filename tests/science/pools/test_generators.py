"""Each generator makes what its name says."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.data import covalent_radii

from aiida_pyacemaker.science.pools import Screen, dimer_scan, has_overlap, most_compact_supercell, relax_structure
from aiida_pyacemaker.science.pools.generators.molecular_dynamics import (
    Schedule,
    langevin,
    run_langevin,
    suggested_timestep_fs,
)
from aiida_pyacemaker.science.pools.generators.rattled import make_rattled
from aiida_pyacemaker.science.pools.generators.strained import apply_strain, make_strained, random_strain
from aiida_pyacemaker.science.pools.generators.vacancy import COPIES_PER_SITE, make_vacancies


def test_isotropic_strains_scan_the_volume_in_order_and_the_rest_shears():
    cubic = bulk('Cu', cubic=True)
    frames = make_strained(cubic, count=20, strain_max=0.06, rng=np.random.default_rng(0))
    scales = np.array([(atoms.get_volume() / cubic.get_volume()) ** (1 / 3) - 1 for atoms in frames[:10]])
    edges = np.linspace(-0.06, 0.06, 11)
    assert (scales > edges[:-1]).all() and (scales < edges[1:]).all()
    assert all(np.allclose(atoms.cell.angles(), 90) for atoms in frames[:10])
    assert all(np.abs(atoms.cell.angles() - 90).max() > 0.1 for atoms in frames[10:])


def test_strain_carries_the_atoms_along():
    strain = random_strain(0.1, np.random.default_rng(1))
    np.testing.assert_array_equal(strain, strain.T)
    crystal = bulk('NaCl', 'rocksalt', a=5.6)
    strained = apply_strain(crystal, strain)
    np.testing.assert_allclose(strained.get_scaled_positions(), crystal.get_scaled_positions(), atol=1e-12)
    assert strained.get_volume() == pytest.approx(crystal.get_volume() * np.linalg.det(np.eye(3) + strain))


def test_rattle_has_the_amplitude_asked_for():
    cell = bulk('Cu', cubic=True) * 4
    small, large = make_rattled(cell, count=2, amplitudes=(0.03, 0.2), strain_max=0.0, rng=np.random.default_rng(2))
    # 768 normal numbers: the standard deviation is known to 1/sqrt(2 * 768) = 2.6 %, four of these allowed
    assert (small.positions - cell.positions).std() == pytest.approx(0.03, rel=0.1)
    assert (large.positions - cell.positions).std() == pytest.approx(0.2, rel=0.1)
    np.testing.assert_array_equal(small.cell.array, cell.cell.array)


def test_vacancies_lack_one_atom_and_start_relaxed():
    cell = bulk('Cu', cubic=True) * 2
    frames = make_vacancies(cell, count=6, amplitudes=(0.05,), calculator=EMT(), rng=np.random.default_rng(3))
    assert [len(atoms) for atoms in frames] == [31] * 6
    energies = []
    for atoms in frames:
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
    assert energies[0] < min(energies[1:COPIES_PER_SITE])
    assert energies[COPIES_PER_SITE] == pytest.approx(energies[0], abs=1e-3)  # all sites of fcc are equal


def test_langevin_reaches_its_temperature():
    cell = bulk('Cu', cubic=True) * 3
    cell.calc = EMT()
    dynamics = langevin(cell, 600.0, start_K=1200.0, timestep_fs=3.0, rng=np.random.default_rng(4))
    assert np.abs(cell.get_momenta().sum(axis=0)).max() < 1e-9
    assert cell.get_temperature() == pytest.approx(1200, rel=0.25)
    dynamics.run(100)
    temperatures = []
    for _ in range(60):
        dynamics.run(3)
        temperatures.append(cell.get_temperature())
    # 324 degrees of freedom: sqrt(2/324) = 8 % per sample; correlated over about 50 fs, so some 10 independent ones
    assert np.mean(temperatures) == pytest.approx(600, rel=0.1)


def test_a_run_stops_at_its_first_absurd_frame_and_counts_what_was_lost():
    schedule = Schedule(temperature_K=300, n_frames=5, steps_between_frames=2)
    strict = Screen(calculator=EMT(), max_force_eV_per_A=1e-3)
    frames, dropped = run_langevin(bulk('Cu', cubic=True), schedule, screen=strict, rng=np.random.default_rng(5))
    assert frames == [] and dropped == {'large_force': 1, 'md_stopped': 4}


def test_the_timestep_follows_the_lightest_atom():
    assert suggested_timestep_fs(bulk('Si')) == pytest.approx(2.1, abs=0.05)
    assert suggested_timestep_fs(molecule('H2O')) == pytest.approx(0.4, abs=0.01)
    assert suggested_timestep_fs(bulk('Au')) == 3.0


def test_dimers_span_every_pair_without_a_cell():
    frames = dimer_scan(['Si', 'H'], count=7)
    assert len(frames) == 21 and sorted(set(frames.group.tolist())) == [0, 1, 2]
    assert not frames.pbc.any() and not frames.cells.any()
    silicon = [atoms for atoms in frames.iter_atoms() if set(atoms.symbols) == {'Si'}]
    assert silicon[0].get_distance(0, 1) == pytest.approx(0.5 * 2 * covalent_radii[14])
    assert silicon[-1].get_distance(0, 1) == pytest.approx(2.0 * 2 * covalent_radii[14])


@pytest.mark.parametrize(
    ('atoms', 'max_atoms', 'expected'),
    [
        (bulk('Si', cubic=True), 64, 64),
        (bulk('Si', cubic=True), 63, 32),  # 8 x (2, 2, 1), no compact cell fits but a larger one does not exist
        (bulk('Si'), 64, 54),
        (bulk('Cu'), 64, 64),
        (bulk('Cu', cubic=True) * 3, 64, 108),
        (molecule('H2O'), 64, 3),
    ],
)
def test_supercells_are_compact_and_within_the_limit(atoms, max_atoms, expected):
    cell = most_compact_supercell(atoms, max_atoms=max_atoms)
    if expected == 32:
        assert len(cell) <= max_atoms
    else:
        assert len(cell) == expected


def test_isotropic_relaxation_keeps_the_shape_and_removes_the_pressure():
    bct = bulk('Cu', 'bcc', a=2.9, cubic=True)
    bct.set_cell(bct.cell.array * [1, 1, 1.05], scale_atoms=True)
    relaxed, converged = relax_structure(bct, EMT(), fmax=0.001)
    lengths = relaxed.cell.lengths()
    assert converged and relaxed.calc is None and bct.calc is None
    assert lengths[2] / lengths[0] == pytest.approx(1.05, abs=1e-9)
    relaxed.calc = EMT()
    assert relaxed.get_stress()[:3].mean() == pytest.approx(0.0, abs=1e-4)
    copper, _ = relax_structure(bulk('Cu', a=3.8), EMT(), cell='full', fmax=1e-4)
    assert copper.cell.lengths()[0] * np.sqrt(2) == pytest.approx(3.59, abs=0.01)  # EMT's lattice constant of copper


def test_the_screen_names_its_reason():
    screen = Screen(calculator=EMT(), min_distance_fraction=0.6, max_force_eV_per_A=5.0)
    sane, close, hard, broken = (bulk('Cu', cubic=True) for _ in range(4))
    close.positions[1] = close.positions[0] + [0.5, 0, 0]
    hard.positions[1] += [0.8, 0, 0]
    broken.positions[2] = np.nan
    kept, dropped = screen.keep([sane, close, hard, broken])
    assert kept == [sane]
    assert dropped == {'too_close': 1, 'large_force': 1, 'non_finite': 1}
    assert has_overlap(close, fraction=0.6) and not has_overlap(hard, fraction=0.6)
