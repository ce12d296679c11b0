"""Frames: columns that keep their shape, selections that keep their rows, digests of what is physics."""

from dataclasses import fields

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, Frames, concatenate_frames


def labelled(seed=0):
    rng = np.random.default_rng(seed)
    structures = [bulk('Si', cubic=True), molecule('H2O'), bulk('Cu')]
    n_atoms = sum(map(len, structures))
    return Frames.from_atoms(
        structures,
        energy=rng.normal(size=3),
        forces=rng.normal(size=(n_atoms, 3)),
        label_mask=np.full(3, HAS_ENERGY | HAS_FORCES),
        parent_index=np.arange(n_atoms),
        theory_id=np.array([0, -1, 0]),
        theories=({'kind': 'teacher', 'digest': str(seed)},),
    )


def test_structures_come_back_as_they_went_in():
    structures = [bulk('Si', cubic=True), molecule('H2O'), bulk('Cu')]
    frames = Frames.from_atoms(structures)
    assert len(frames) == 3 and frames.n_atoms == 12
    assert all(given == found for given, found in zip(structures, frames.iter_atoms(), strict=True))
    assert frames.frame_of_atom().tolist() == [0] * 8 + [1] * 3 + [2]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=6))
def test_selection_takes_the_atoms_of_the_chosen_frames_in_order(rows):
    frames = labelled()
    chosen = frames.select(rows)
    assert chosen.energy.tolist() == frames.energy[rows].tolist()
    expected = [np.arange(frames.n_atoms)[frames.span(row)] for row in rows]
    assert chosen.parent_index.tolist() == [int(atom) for part in expected for atom in part]


def test_a_mask_selects_as_its_indices_do():
    frames = labelled()
    assert frames.select([True, False, True]).content_digest() == frames.select([0, 2]).content_digest()


def test_negative_rows_count_from_the_end_and_rows_beyond_are_refused():
    frames = labelled()
    assert frames.select([-2]).content_digest() == frames.select([1]).content_digest()
    for wrong in ([3], [True, False]):
        with pytest.raises(IndexError):
            frames.select(wrong)


def test_columns_are_read_only_and_their_shape_is_checked():
    frames = labelled()
    with pytest.raises(ValueError, match='read-only'):
        frames.forces[0] = 0.0
    with pytest.raises(ValueError, match=r'forces has shape \(2, 3\), expected \(12, 3\)'):
        frames.with_columns(forces=np.zeros((2, 3)))
    with pytest.raises(IndexError):
        frames.span(3)


def columns_of(frames):
    return {item.name: getattr(frames, item.name) for item in fields(frames) if item.name != 'theories'}


def test_file_keeps_everything_and_a_wrong_file_is_named(tmp_path):
    frames = labelled()
    frames.save(tmp_path / 'a.npz')
    again = Frames.load(tmp_path / 'a.npz')
    assert again.content_digest() == frames.content_digest()
    assert again.theories == frames.theories
    np.testing.assert_array_equal(again.parent_index, frames.parent_index)
    np.savez(tmp_path / 'b.npz', wrong=np.zeros(3))
    (tmp_path / 'c.npz').write_text('no archive')
    np.savez(tmp_path / 'd.npz', **{**columns_of(frames), 'forces': np.zeros((1, 3))})
    for name in ('b', 'c', 'd', 'missing'):
        with pytest.raises(ValueError, match=rf'{name}\.npz is not a file of frames'):
            Frames.load(tmp_path / f'{name}.npz')


def test_joining_merges_equal_theories_and_renumbers_the_others():
    first, second = labelled(0), labelled(1)
    joined = concatenate_frames([first, second, first])
    assert [theory['digest'] for theory in joined.theories] == ['0', '1']
    assert joined.theory_id.tolist() == [0, -1, 0, 1, -1, 1, 0, -1, 0]
    assert joined.select(np.arange(3)).content_digest() == first.content_digest()
    assert len(concatenate_frames([])) == 0


def test_the_digest_sees_physics_only():
    frames = labelled()
    assert frames.with_columns(config_type=np.array(['a', 'b', 'c'])).content_digest() == frames.content_digest()
    assert frames.with_columns(energy=frames.energy + 1e-12).content_digest() != frames.content_digest()


def test_fingerprints_ignore_images_and_order_but_not_species():
    atoms = bulk('NaCl', 'rocksalt', a=5.6, cubic=True)
    images = atoms.copy()
    images.positions += 5.6 * np.random.default_rng(0).integers(-2, 3, (len(atoms), 3))
    shuffled = images[np.random.default_rng(1).permutation(len(atoms))]
    swapped = atoms.copy()
    swapped.numbers = swapped.numbers[::-1].copy()
    moved = atoms.copy()
    moved.positions[0] += 1e-3
    prints = [row.tobytes() for row in Frames.from_atoms([atoms, images, shuffled, swapped, moved]).fingerprints()]
    assert prints[0] == prints[1] == prints[2]
    assert len(set(prints)) == 3 or swapped == atoms
    assert prints[4] != prints[0]


def test_fingerprints_of_slabs_tell_places_one_angstrom_apart():
    slab = Atoms('Si', positions=[[0.25, 0.0, 0.0]], cell=[5.0, 5.0, 20.0], pbc=[True, True, False])
    moved = slab.copy()
    moved.positions[0, 0] += 1.0
    first, second = Frames.from_atoms([slab, moved]).fingerprints()
    assert not np.array_equal(first, second)


def test_labels_whose_meaning_changed_are_told_apart():
    theories = ({'kind': 'dft'}, {'kind': 'dft', 'flags': ['degauss 0.015 -> 0.035']})
    frames = Frames.from_atoms([molecule('H2')] * 4, theory_id=[0, 1, -1, 1], theories=theories)
    assert frames.flagged.tolist() == [False, True, False, True]
    assert len(frames.select(~frames.flagged)) == 2
    assert Frames.from_atoms([]).flagged.tolist() == []
