"""Fingerprints of environments: invariant, blind to thermal motion, not to defects and species."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond100
from ase.calculators.emt import EMT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from aiida_pyacemaker.science.md.engine import open_lammps
from aiida_pyacemaker.science.md.events import fingerprint, relative_distance, same_event

# Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), in the file format of LAMMPS
SILICON = 'Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0'


def shake_silicon(folder, atoms, temperature_K, n_frames=6):
    """Return snapshots of real MD, 0.2 ps apart, after 1 ps."""
    (folder / 'si.sw').write_text(SILICON)
    lmp = open_lammps(['-log', 'none', '-screen', 'none'])
    box = ' '.join(f'0 {length:.12f}' for length in atoms.cell.lengths())
    lmp.commands_list(
        [
            'units metal',
            'atom_style atomic',
            'boundary ' + ' '.join('p' if periodic else 's' for periodic in atoms.pbc),
            f'region box block {box}',
            'create_box 1 box',
            'mass 1 28.085',
        ]
    )
    lmp.create_atoms(len(atoms), None, [1] * len(atoms), atoms.positions.ravel())
    lmp.commands_list(
        [
            'pair_style sw',
            f'pair_coeff * * {folder}/si.sw Si',
            f'velocity all create {2 * temperature_K} 7',
            'fix move all nve',
            f'fix bath all langevin {temperature_K} {temperature_K} 0.1 7',
            'run 1000',
        ]
    )
    frames = []
    for _ in range(n_frames):
        lmp.command('run 200')
        moved = atoms.copy()
        moved.positions = np.array(lmp.gather_atoms('x', 1, 3)).reshape(-1, 3)
        frames.append(moved)
    lmp.close()
    return frames


def shake_metal(atoms, temperature_K, n_frames=5):
    """Return snapshots of real MD with effective medium theory, 0.1 ps apart, after 0.4 ps."""
    moving = atoms.copy()
    moving.calc = EMT()
    MaxwellBoltzmannDistribution(moving, temperature_K=2 * temperature_K, rng=np.random.default_rng(3))
    dynamics = VelocityVerlet(moving, 0.4)
    dynamics.run(100)
    frames = []
    for _ in range(n_frames):
        dynamics.run(25)
        frames.append(Atoms(moving.numbers, moving.positions, cell=moving.cell, pbc=True))
    return frames


def neighbours(atoms, index, count):
    return np.argsort(atoms.get_distances(index, range(len(atoms)), mic=True))[1 : count + 1]


def all_fingerprints(frames, indices):
    return [[fingerprint(frame, int(index)) for frame in frames] for index in indices]


def same_in_time(groups):
    """Return the fraction of pairs (one atom at two times) that are one event."""
    pairs = [same_event(a, b) for series in groups for a, b in itertools.combinations(series, 2)]
    return np.mean(pairs)


def same_across(groups, others):
    return np.mean([same_event(a, b) for one in groups for other in others for a in one for b in other])


@pytest.fixture(scope='module')
def silicon(tmp_path_factory):
    folder = tmp_path_factory.mktemp('si')
    crystal = bulk('Si', cubic=True, a=5.431) * 3
    vacancy = crystal.copy()
    around = neighbours(crystal, 0, 4)
    del vacancy[0]
    slab = diamond100('Si', (4, 4, 6), a=5.431, vacuum=8.0)
    slab.pbc = (True, True, False)
    crowded = crystal + Atoms('Si', positions=[[2.7155, 2.7155, 2.7155]])
    cases = {
        'bulk': (crystal, [0, 20, 50]),
        'vacancy': (vacancy, around - 1),
        'interstitial': (crowded, [len(crystal)]),
        'surface': (slab, np.argsort(-slab.positions[:, 2])[:3]),
    }
    return {name: all_fingerprints(shake_silicon(folder, atoms, 300), indices)
            for name, (atoms, indices) in cases.items()}  # fmt: skip


def test_the_same_defect_at_different_times_is_one_event_and_different_defects_are_not(silicon):
    for name, groups in silicon.items():
        assert same_in_time(groups) == 1.0, name
    for one, other in itertools.combinations(silicon, 2):
        assert same_across(silicon[one], silicon[other]) == 0.0, (one, other)


def test_equivalent_atoms_are_one_event(silicon):
    assert same_across(silicon['vacancy'][:1], silicon['vacancy'][1:]) > 0.9


def test_one_foreign_neighbour_is_another_event():
    pure = bulk('Cu', cubic=True) * 2
    doped = pure.copy()
    doped.symbols[0] = 'Au'
    around = neighbours(pure, 0, 3)
    bulk_copper = all_fingerprints(shake_metal(pure, 600), around)
    near_gold = all_fingerprints(shake_metal(doped, 600), around)
    gold = all_fingerprints(shake_metal(doped, 600), [0])
    for groups in (bulk_copper, near_gold, gold):
        assert same_in_time(groups) > 0.95
    assert same_across(bulk_copper, near_gold) == same_across(near_gold, gold) == same_across(bulk_copper, gold) == 0


def test_invariant_to_rotation_permutation_translation_and_the_choice_of_cell():
    rng = np.random.default_rng(5)
    atoms = bulk('MgO', 'rocksalt', a=4.21, cubic=True)
    atoms.rattle(0.1, rng=rng)
    wanted = fingerprint(atoms, 3)
    assert len(wanted) <= 64
    assert wanted[0] == atoms.numbers[3]
    turned = atoms.copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    order = rng.permutation(len(atoms))
    moved = atoms.copy()
    moved.translate([0.3, 1.1, -0.7])
    moved.wrap()
    for other, index in (
        (turned, 3),
        (atoms[order], int(np.flatnonzero(order == 3)[0])),
        (moved, 3),
        (atoms.repeat((2, 1, 1)), 3),
    ):
        np.testing.assert_allclose(fingerprint(other, index), wanted, rtol=1e-6, atol=1e-6)


def test_smooth_where_an_atom_leaves_the_reach_and_zero_for_an_isolated_one():
    reach = 2.6 * 2 * 1.11
    inside, outside = (fingerprint(Atoms('Si2', positions=[[0, 0, 0], [r, 0, 0]]), 0) for r in (reach - 1e-4, reach))
    np.testing.assert_allclose(inside, outside, atol=1e-3)
    assert same_event(outside, fingerprint(Atoms('Si'), 0))
    assert not same_event(outside, fingerprint(Atoms('Ge'), 0))
    assert relative_distance(np.zeros(3), np.zeros(3)) == 0.0
    with pytest.raises(ValueError, match='61 and 60 numbers'):
        same_event(outside, outside[1:])
