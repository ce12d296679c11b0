"""The generators a pool holds only when asked: each makes what its name says."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.science.config import PoolConfig
from aiida_pyacemaker.science.pools import Screen, has_overlap, join_samples, make_pool
from aiida_pyacemaker.science.pools.generators.defects import (
    holes,
    make_antisites,
    make_divacancies,
    make_frenkel_pairs,
    make_interstitials,
)
from aiida_pyacemaker.science.pools.generators.melt import Melt, run_melt
from aiida_pyacemaker.science.pools.generators.monte_carlo import make_monte_carlo_rattled
from aiida_pyacemaker.science.pools.generators.normal_modes import make_normal_modes, vibrations
from aiida_pyacemaker.science.pools.generators.random_packing import make_random
from aiida_pyacemaker.science.pools.generators.rattled import make_rattled
from aiida_pyacemaker.science.pools.generators.series import make_sheared, make_volume_series
from aiida_pyacemaker.science.pools.generators.surfaces import VACUUM_A, make_surfaces
from aiida_pyacemaker.science.pools.generators.vacancy import COPIES_PER_SITE


def seeded(seed=0):
    return np.random.default_rng(seed)


def test_a_volume_series_is_even_and_symmetric():
    copper = bulk('Cu')
    series = make_volume_series(copper, count=5, strain_max=0.1, rng=seeded())
    scales = [(atoms.get_volume() / copper.get_volume()) ** (1 / 3) for atoms in series]
    np.testing.assert_allclose(scales, [0.9, 0.95, 1.0, 1.05, 1.1], rtol=1e-12)


def test_shears_keep_the_volume_and_grow():
    copper = bulk('Cu')
    sheared = make_sheared(copper, count=4, strain_max=0.08, rng=seeded())
    for index, atoms in enumerate(sheared, start=1):
        assert atoms.get_volume() == pytest.approx(copper.get_volume(), rel=1e-12)
        gradient = np.linalg.inv(copper.cell.array) @ atoms.cell.array - np.eye(3)
        assert np.linalg.norm(gradient) == pytest.approx(0.02 * index, rel=1e-9)


def test_monte_carlo_rattle_moves_as_far_as_asked_and_keeps_atoms_apart():
    cell = bulk('Cu', cubic=True) * 2
    options = {'amplitude': 0.5, 'min_distance_fraction': 0.75}
    apart = make_monte_carlo_rattled(cell, count=4, rng=seeded(), **options)
    blind = make_rattled(cell, count=4, amplitudes=(0.5,), strain_max=0.0, rng=seeded())

    def closest(frames):
        return min(neighbor_list('d', atoms, 4.0).min() for atoms in frames) / (2 * covalent_radii[29])

    # the error function lets a pair in to one and a half widths, 0.15 Å of 2.64 Å
    assert closest(blind) < 0.6 < 0.75 - 0.06 < closest(apart)
    moved = np.concatenate([atoms.positions - cell.positions for atoms in apart])
    assert 0.3 < moved.std() < 0.55  # neighbours hold it back from 0.5
    free = make_monte_carlo_rattled(cell, count=4, rng=seeded(), amplitude=0.05, min_distance_fraction=0.5)
    shift = np.concatenate([atoms.positions - cell.positions for atoms in free])
    assert shift.std() == pytest.approx(0.05, rel=0.15)  # 384 numbers: 3.6 %, four of these


def test_the_liquid_has_lost_its_lattice_and_the_quench_is_colder():
    cell = bulk('Cu', cubic=True) * 2
    screen, energies = Screen(calculator=EMT()), {}
    for quench in (False, True):
        melt = Melt(temperature_K=2500.0, steps=25, quench=quench)
        frames, dropped = run_melt(cell, melt, screen=screen, count=6, rng=seeded())
        assert len(frames) == 6 and not dropped
        last = frames[-1]
        last.calc = EMT()
        energies[quench] = last.get_potential_energy() / len(last)
        shift = last.positions - cell.positions * 1.06
        assert np.sqrt(((shift - shift.mean(axis=0)) ** 2).sum(axis=1).mean()) > 0.3 * 2.3
    assert energies[True] < energies[False]


def test_a_crystal_that_stays_one_is_no_liquid():
    cold = Melt(temperature_K=20.0, steps=100, quench=False)
    frames, dropped = run_melt(bulk('Cu', cubic=True), cold, screen=Screen(calculator=EMT()), count=3, rng=seeded())
    assert frames == [] and dropped == {'not_molten': 3}


def test_random_structures_have_composition_volume_and_distance():
    crystal = bulk('NaCl', 'rocksalt', a=5.6, cubic=True)
    made = make_random(crystal, count=5, min_distance_fraction=0.7, rng=seeded())
    assert len(made) == 5
    for atoms in made:
        assert atoms.symbols.formula.count() == {'Na': 4, 'Cl': 4}
        assert 0.9 <= atoms.get_volume() / crystal.get_volume() <= 1.4
        assert not has_overlap(atoms, fraction=0.7)
    assert not np.allclose(made[0].cell.array, made[1].cell.array)
    assert make_random(crystal, count=2, min_distance_fraction=1.6, rng=seeded()) == []


@pytest.mark.parametrize(('name', 'n_tetra', 'n_octa'), [('fcc', 8, 4), ('bcc', 12, 0)])
def test_holes_are_those_of_the_textbook(name, n_tetra, n_octa):
    # fcc: 8 tetrahedral, 4 octahedral per cubic cell; the vertices of bcc are its 12 tetrahedral holes
    positions, coordinations = holes(bulk('Cu', name, a=3.6, cubic=True))
    found = {kind: int((coordinations == kind).sum()) for kind in (4, 6)}
    assert len(positions) == n_tetra + n_octa and found == {4: n_tetra, 6: n_octa}


def test_interstitials_and_antisites_change_what_they_should():
    alloy = bulk('CuAu', 'cesiumchloride', a=3.1) * 2
    options = {'count': 2 * COPIES_PER_SITE, 'amplitudes': (0.02,), 'calculator': EMT()}
    extra = make_interstitials(alloy, rng=seeded(), **options)
    assert [len(atoms) for atoms in extra] == [len(alloy) + 1] * 8
    assert not has_overlap(extra[0], fraction=0.6)
    wrong = make_antisites(alloy, rng=seeded(), **options)
    one, pair = wrong[0], wrong[COPIES_PER_SITE]
    assert (one.numbers != alloy.numbers).sum() == 1 and (pair.numbers != alloy.numbers).sum() == 2
    assert sorted(pair.numbers) == sorted(alloy.numbers)


def test_slabs_have_vacuum_and_bulk_density_between():
    slabs = make_surfaces(bulk('Cu', a=3.6), count=5, max_atoms=32, amplitudes=(1e-9,), rng=seeded())
    assert [len(atoms) <= 32 and atoms.pbc.all() for atoms in slabs] == [True] * 5
    for atoms in slabs:
        height = atoms.cell.array[2] @ np.cross(*atoms.cell.array[:2]) / np.linalg.norm(np.cross(*atoms.cell.array[:2]))
        thickness = np.ptp(atoms.positions[:, 2])
        assert height - thickness == pytest.approx(2 * VACUUM_A, abs=1e-6)
        assert neighbor_list('d', atoms, 3.0).min() == pytest.approx(3.6 / np.sqrt(2), abs=1e-6)


class Springs(Calculator):
    """Harmonic bonds between all atoms: k/2 (d - 1 Å)²."""

    implemented_properties = ('energy', 'forces')
    stiffness = 10.0

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        vectors = self.atoms.positions[:, None] - self.atoms.positions
        distances = np.linalg.norm(vectors, axis=-1) + np.eye(len(self.atoms))
        stretch = distances - 1.0
        forces = -self.stiffness * (stretch / distances)[..., None] * vectors
        self.results = {'energy': self.stiffness * (stretch**2).sum() / 4, 'forces': forces.sum(axis=1)}


def test_the_diatomic_vibrates_as_its_spring():
    pair = Atoms('HO', positions=[[0, 0, 0], [0, 0, 1.0]])
    frequencies, modes = vibrations(pair, Springs())
    masses = pair.get_masses()
    expected = np.sqrt(Springs.stiffness * masses.sum() / masses.prod()) * units._hbar * units.J * units.s
    assert modes.shape == (6, 1) and frequencies[0] == pytest.approx(expected / units.invcm, rel=1e-4)


def test_normal_modes_carry_half_kT_each():
    triangle = Atoms('H3', positions=[[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0]])
    kelvin = 1.0  # cold: only there is the sum of springs harmonic
    frames = make_normal_modes(triangle, count=400, temperatures_K=(kelvin,), calculator=Springs(), rng=seeded())
    energies = []
    for atoms in frames:
        atoms.calc = Springs()
        energies.append(atoms.get_potential_energy())
    # 3 modes, 400 samples: the mean is known to sqrt(2/1200) = 4 %, four of these allowed
    assert np.mean(energies) == pytest.approx(1.5 * units.kB * kelvin, rel=0.16)


def test_pair_scans_hold_every_pair_and_count_the_absurd():
    config = PoolConfig(n_strained=0, n_rattled=0, n_vacancy=0, n_md_frames=0, n_pairs=36)
    pool = join_samples(make_pool([bulk('CuAu', 'cesiumchloride', a=3.1)], config, calculator=EMT(), rng=seeded()))
    pairs = [atoms for atoms in pool.frames.iter_atoms() if not atoms.pbc.any()]
    distances = np.array([atoms.get_distance(0, 1) for atoms in pairs])
    assert {'-'.join(sorted(atoms.symbols)) for atoms in pairs} == {'Au-Au', 'Au-Cu', 'Cu-Cu'}
    assert distances.max() == pytest.approx(6.0) and distances.min() < 2.2
    # 12 distances a pair, half an ångström apart: 0.5, 1.0 and, for 1.32 + 1.36 Å radii and their like, 1.5 are absurd
    assert pool.dropped == {'too_close': 9} and len(pairs) == 27


def test_a_pool_reaches_every_generator_by_its_count_and_the_first_ones_do_not_notice():
    alloy = bulk('CuAu', 'cesiumchloride', a=3.1)
    few = {
        'n_strained': 2,
        'n_rattled': 2,
        'n_vacancy': 0,
        'n_md_frames': 0,
        'max_atoms': 16,
        'melt_temperature_K': 6000.0,
    }
    more = dict.fromkeys(
        ('n_volumes', 'n_sheared', 'n_monte_carlo', 'n_liquid', 'n_quenched', 'n_random'), 2
    ) | dict.fromkeys(('n_interstitial', 'n_antisite', 'n_surface', 'n_normal_modes'), 2)
    prototypes = [alloy, molecule('H2O')]
    config = PoolConfig(**few, **more, min_distance_fraction=0.5, max_force_eV_per_A=100.0)
    plain = PoolConfig(**few, min_distance_fraction=0.5, max_force_eV_per_A=100.0)
    full, bare = (
        join_samples(make_pool(prototypes, c, calculator=EMT(), rng=seeded(7))) for c in (config, plain)
    )
    kinds, counts = np.unique(full.frames.config_type, return_counts=True)
    expected = {'strained', 'rattled', 'prototype', *(name.removeprefix('n_') for name in more)}
    assert set(kinds) <= {*expected, 'volume'} and counts.sum() + sum(full.dropped.values()) == 2 + 4 + 20
    assert {'volume', 'sheared', 'monte_carlo', 'surface', 'interstitial', 'antisite', 'normal_modes'} <= set(kinds)
    head = full.frames.select(np.arange(len(bare.frames)))
    assert head.content_digest() == bare.frames.content_digest()


def test_divacancies_are_neighbours_in_turn_and_frenkel_pairs_keep_all_atoms():
    copper = bulk('Cu', cubic=True) * 2
    options = {'amplitudes': (0.01,), 'calculator': EMT(), 'rng': seeded()}
    pairs = make_divacancies(copper, count=8, **options)
    assert {len(atoms) for atoms in pairs} == {30}
    for atoms in pairs[:1]:  # the relaxed first pair: who left shows in the sites without an atom
        gaps = [site for site in copper.positions if find_mic(atoms.positions - site, copper.cell)[1].min() > 1.0]
        assert len(gaps) == 2
        assert find_mic((gaps[0] - gaps[1])[None], copper.cell)[1][0] == pytest.approx(copper.cell[0, 0] / 2**0.5 / 2)
    frenkel = make_frenkel_pairs(copper, count=4, **options)
    assert {len(atoms) for atoms in frenkel} == {32}
    moved = find_mic(frenkel[0].positions - copper.positions, copper.cell)[1]
    assert moved.max() > 2.0 and np.sort(moved)[-2] < 1.5
