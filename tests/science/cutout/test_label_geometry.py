"""The cluster: counts known from the lattice, bonds closed, limits kept."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from cutout_parents import silicon_amorphous

from aiida_pyacemaker.science.config import CutoutConfig
from aiida_pyacemaker.science.cutout import RejectedCutoutError, cap_elements, cap_pseudos
from aiida_pyacemaker.science.cutout.caps import Caps, close_boundary, leave_out_for_parity, merge_clashing
from aiida_pyacemaker.science.cutout.label_geometry import CutRequest
from aiida_pyacemaker.science.cutout.policies.covalent import ALMOST_BONDED, cut_covalent
from aiida_pyacemaker.science.cutout.theory import LabelTheory
from aiida_pyacemaker.science.frames import SHELL_BUFFER, SHELL_CAP, SHELL_CORE, SHELL_FROZEN
from aiida_pyacemaker.science.images import Images, bonded_neighbours, images_near, index_frame

ONE_ATOM = CutoutConfig(core_radius=0.0)


@pytest.fixture
def silicon():
    return bulk('Si', 'diamond', a=5.43, cubic=True) * (2, 2, 2)


def build_label_geometry(frame, epicentre, config):
    request = CutRequest(frame=index_frame(frame), epicentre=epicentre, config=config, theory=LabelTheory())
    return cut_covalent(request)


def rattled(atoms, amplitude, seed=0):
    moved = atoms.copy()
    moved.positions += np.random.default_rng(seed).normal(scale=amplitude, size=moved.positions.shape)
    return moved


def test_crystal_gives_the_known_clusters(silicon):
    """Shells of diamond: 1, 4, 12, 12 atoms; the 12 of the last have two bonds inside, so 36 bonds are cut."""
    geometry = build_label_geometry(silicon, 5, ONE_ATOM)
    assert geometry.atoms.get_chemical_formula() == 'H36Si29'
    counts = [int((geometry.shell == tag).sum()) for tag in (SHELL_CORE, SHELL_FROZEN, SHELL_BUFFER, SHELL_CAP)]
    assert counts == [1, 4, 24, 36]
    small = build_label_geometry(silicon, 5, CutoutConfig(core_radius=0.0, max_label_atoms=40))
    assert 17 < len(small.atoms) <= 40 and (small.shell == SHELL_FROZEN).sum() == 4  # what fits of the buffer is there
    assert len(build_label_geometry(silicon, 5, CutoutConfig()).atoms) <= 130  # what nobody set must work for silicon
    wide = build_label_geometry(silicon, 5, CutoutConfig(core_radius=2.5, max_label_atoms=71))
    assert 65 <= len(wide.atoms) <= 71 and (wide.shell == SHELL_CORE).sum() == 5


def test_the_weak_bonds_of_a_glass_stay_with_the_core():
    """Neighbours at 2.9 to 3.3 Å are no bonds, but without them the core's force is another."""
    frame = silicon_amorphous()
    longest = 2.6 * covalent_radii[14]
    for epicentre in (5, 26, 30):
        near = np.flatnonzero(frame.get_distances(epicentre, range(len(frame)), mic=True) < 1.14 * longest)
        for buffer in (1.0, 3.0):
            geometry = build_label_geometry(frame, epicentre, CutoutConfig(core_radius=0.0, buffer_radius=buffer))
            assert set(near.tolist()) <= set(geometry.parents.tolist())


def test_positions_of_the_frame_are_kept_and_caps_lie_on_the_cut_bonds(silicon):
    frame = rattled(silicon, 0.08)
    geometry = build_label_geometry(frame, 9, ONE_ATOM)
    real = geometry.parents >= 0
    cut = geometry.atoms.positions[real]
    vectors = frame.get_distances(9, geometry.parents[real], mic=True, vector=True)
    core = cut[geometry.shell[real] == SHELL_CORE][0]
    assert np.allclose(np.linalg.norm(cut - core, axis=1), np.linalg.norm(vectors, axis=1), atol=1e-9)
    hosts = np.linalg.norm(geometry.atoms.positions[~real][:, None] - cut[None], axis=2).min(axis=1)
    assert np.allclose(hosts, covalent_radii[14] + covalent_radii[1], atol=1e-9)


def test_every_atom_but_the_almost_bonded_holds_on_by_a_bond(silicon):
    for seed in range(6):
        geometry = build_label_geometry(rattled(silicon, 0.15, seed), seed, ONE_ATOM)
        real = geometry.atoms[geometry.parents >= 0]
        images = Images(parents=np.arange(len(real)), numbers=real.numbers, positions=real.positions)
        n_bonds = np.array([len(found) for found in bonded_neighbours(images)])
        near = real.get_distances(int(np.flatnonzero(geometry.shell == SHELL_CORE)[0]), range(len(real)))
        is_bonded = near < ALMOST_BONDED * 2.6 * covalent_radii[14]
        free = (geometry.shell[geometry.parents >= 0] == SHELL_BUFFER) & ~is_bonded
        assert n_bonds[free].min() >= 1
        assert len(geometry.atoms) <= ONE_ATOM.max_label_atoms


def test_box_and_wrapping_do_not_matter(silicon):
    frame = rattled(silicon, 0.05)
    moved = frame.copy()
    moved.positions += [3.3, -7.1, 12.9]
    moved.wrap()
    first, second = build_label_geometry(frame, 30, ONE_ATOM), build_label_geometry(moved, 30, ONE_ATOM)
    assert np.array_equal(first.parents, second.parents)
    assert np.allclose(first.atoms.positions, second.atoms.positions, atol=1e-9)
    box = first.atoms.cell.lengths()
    assert np.allclose(box, np.ptp(first.atoms.positions, axis=0).max() + ONE_ATOM.vacuum) and not first.atoms.pbc.any()


def test_vacancy_leaves_its_dangling_bonds_open(silicon):
    del silicon[20]
    near = int(np.argmin(np.linalg.norm(silicon.positions - [0, 0, 0], axis=1)))
    geometry = build_label_geometry(silicon, near, ONE_ATOM)
    caps = geometry.atoms[geometry.shell == SHELL_CAP]
    assert len(caps) <= 36


def test_too_large_a_core_and_a_wrapped_core_are_rejected(silicon):
    with pytest.raises(RejectedCutoutError, match='max_label_atoms is 71'):
        build_label_geometry(silicon, 0, CutoutConfig(core_radius=4.0, max_label_atoms=71))
    with pytest.raises(RejectedCutoutError, match='wraps the periodic box'):
        build_label_geometry(bulk('Si', 'diamond', a=5.43, cubic=True), 0, CutoutConfig(core_radius=6.0))


def test_without_passivation_there_are_no_caps(silicon):
    geometry = build_label_geometry(silicon, 0, CutoutConfig(core_radius=0.0, enable_passivation=False))
    assert geometry.atoms.get_chemical_formula() == 'Si29'


def test_lonely_atoms_are_bridged_and_only_what_holds_on_to_nothing_is_dropped():
    """A ring 0-1-2-3 is closed by its bridge 3; 4, on a tail, lost three bonds and stays; 8 is bonded to none."""
    neighbours = [
        np.array(row) for row in ([1, 3], [0, 2, 4], [1, 3], [0, 2], [1, 5, 6, 7], [4, 8], [4, 8], [4, 8], [5, 6, 7])
    ]
    assert close_boundary({0, 1, 2, 4}, {0}, neighbours, max_atoms=50) == {0, 1, 2, 3, 4}
    assert close_boundary({0, 1, 2, 8}, {0}, neighbours, max_atoms=50) == {0, 1, 2, 3}
    assert 8 in close_boundary({0, 1, 2, 8}, {0, 8}, neighbours, max_atoms=50)


def test_the_buffer_of_a_glass_is_not_left_out_for_its_cut_bonds():
    """The core feels the loss of what is within the buffer more than three caps on it."""
    frame = silicon_amorphous()
    longest = 2.6 * covalent_radii[14]
    for epicentre in (3, 5, 12):
        geometry = build_label_geometry(frame, epicentre, CutoutConfig(core_radius=0.0, buffer_radius=3.0))
        frozen = np.flatnonzero(frame.get_distances(epicentre, range(len(frame)), mic=True) < longest)
        gaps = np.array([frame.get_distances(row, range(len(frame)), mic=True) for row in frozen]).min(axis=0)
        near = np.flatnonzero(gaps <= 3.0)
        bonds = [(frame.get_distances(row, near, mic=True) < longest).sum() - 1 for row in near]
        assert set(near[np.array(bonds) > 0].tolist()) <= set(geometry.parents.tolist())


def test_clashing_caps_merge_and_parity_takes_the_weakest_bond_of_a_crowded_atom():
    caps = Caps(
        positions=np.array([[0.0, 0, 0], [0.8, 0, 0], [5.0, 0, 0]]),
        hosts=np.array([0, 1, 0]),
        replaced=np.array([2, 3, 4]),
    )
    merged = merge_clashing(caps)
    assert len(merged) == 2 and merged.n_merged == 1 and np.allclose(merged.positions[0], [0.4, 0, 0])
    images = Images(
        parents=np.arange(5),
        numbers=np.full(5, 14),
        positions=np.array([[0.0, 0, 0], [0, 2.0, 0], [2.2, 0, 0], [0, 4.0, 0], [0, 0, 2.7]]),
    )
    crowded = [np.arange(5), *[np.arange(2)] * 4]
    left = leave_out_for_parity(caps, images, crowded)
    assert left.replaced.tolist() == [2, 3] and left.n_left_out == 1
    assert len(leave_out_for_parity(caps, images, [np.arange(4)] * 5)) == 3


def test_images_are_those_of_a_supercell(silicon):
    """All images within 8 Å of two points, against a brute-force supercell."""
    frame = rattled(silicon, 0.1)
    frame.set_cell(frame.cell + np.array([[0, 0, 0], [2.0, 0, 0], [0.5, 1.0, 0]]), scale_atoms=True)
    offsets = np.array([[0.0, 0, 0], [1.0, 2.0, -1.0]])
    found = images_near(index_frame(frame), 7, offsets, radius=8.0)
    big = frame * (5, 5, 5)
    middle = frame.positions[7] + 2 * np.sum(frame.cell, axis=0)
    gaps = np.min([np.linalg.norm(big.positions - middle - offset, axis=1) for offset in offsets], axis=0)
    assert len(found) == int((gaps <= 8.0).sum()) and found.parents[0] == 7
    want = np.sort(np.linalg.norm(big.positions[gaps <= 8.0] - middle, axis=1))
    assert np.allclose(np.sort(np.linalg.norm(found.positions, axis=1)), want)


def test_caps_are_asked_for_only_where_bonds_may_be_cut():
    assert cap_elements({'Si', 'C'}, ONE_ATOM) == ('H',)
    assert cap_elements({'Ni', 'Al'}, ONE_ATOM) == cap_elements({'Mg', 'O'}, ONE_ATOM) == ()
    assert cap_elements({'Si'}, CutoutConfig(policy='metal')) == ()
    assert cap_elements({'Si'}, CutoutConfig(enable_passivation=False)) == ()
    assert cap_pseudos({'Ga', 'As'}, ONE_ATOM) == ('H', 'H33', 'H31')
    assert (
        cap_pseudos({'Si', 'O'}, ONE_ATOM) == cap_pseudos({'Ga', 'As'}, CutoutConfig(fractional_caps=False)) == ('H',)
    )


def test_molecule_in_a_box_is_taken_as_it_is():
    """Nothing is cut from an isolated disilane: hydrogen goes with its host."""
    from ase.build import molecule

    atoms = molecule('Si2H6')
    geometry = build_label_geometry(Atoms(atoms.numbers, atoms.positions), 0, ONE_ATOM)
    assert geometry.atoms.get_chemical_formula() == 'H6Si2' and not (geometry.shell == SHELL_CAP).any()
