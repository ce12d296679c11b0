"""Extended-XYZ keeps every column to the last bit and reads what ASE writes."""

from dataclasses import fields

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from aiida_pyacemaker.science.frames_io import read_extxyz, write_extxyz


def full_frames(seed=0):
    rng = np.random.default_rng(seed)
    structures = [bulk('Si', cubic=True), molecule('H2O'), bulk('NaCl', 'rocksalt', a=5.6), Atoms('H')]
    structures[0].cell += rng.normal(scale=0.1, size=(3, 3))
    n_frames, n_atoms = len(structures), sum(map(len, structures))
    forces = rng.normal(size=(n_atoms, 3))
    forces[8:11] = np.nan
    return Frames.from_atoms(
        structures,
        energy=np.array([rng.normal(), np.nan, 1e-17, -3.0]),
        forces=forces,
        stress=np.vstack([rng.normal(size=(1, 6)), np.full((3, 6), np.nan)]),
        label_mask=np.array([7, 0, 3, 3]),
        force_weight=rng.uniform(size=n_atoms),
        shell=rng.integers(-1, 5, n_atoms),
        gamma=np.where(np.arange(n_atoms) == 0, np.inf, rng.uniform(size=n_atoms)),
        uncertainty=rng.uniform(size=n_atoms),
        magmom=rng.normal(size=n_atoms),
        charge=np.array([0.0, -1.0, 0.1, 0.0]),
        config_type=np.array(['rattled', 'T', '1e5', 'two words "quoted"'][:n_frames]),
        group=np.array([3, -1, 0, 12]),
        parent_index=rng.integers(-1, 99, n_atoms),
        theory_id=np.array([0, -1, 1, 0]),
        theories=({'kind': 'teacher', 'digest': 'a' * 8}, {'kind': 'dft', 'ecutwfc': 30.0, 'upf': {'Si': 'x=1'}}),
    )


def test_round_trip_keeps_every_column_to_the_last_bit(tmp_path):
    frames = full_frames()
    write_extxyz(tmp_path / 'a.xyz', frames)
    again = read_extxyz(tmp_path / 'a.xyz')
    for item in fields(Frames):
        if item.name != 'theories':
            np.testing.assert_array_equal(getattr(again, item.name), getattr(frames, item.name), err_msg=item.name)
    assert again.theories == frames.theories
    assert again.content_digest() == frames.content_digest()


def test_ase_reads_our_labels(tmp_path):
    frames = full_frames()
    write_extxyz(tmp_path / 'a.xyz', frames)
    atoms = read(tmp_path / 'a.xyz', index=0, format='extxyz')
    assert atoms.get_potential_energy() == frames.energy[0]
    np.testing.assert_array_equal(atoms.get_forces(), frames.forces[frames.span(0)])
    np.testing.assert_array_equal(atoms.get_stress(), frames.stress[0])


def test_files_written_by_ase_declare_the_labels_they_hold(tmp_path):
    labelled, bare = bulk('Cu'), bulk('Cu')
    stress = np.arange(6) / 100
    results = {'energy': -1.0, 'free_energy': -1.5, 'forces': np.ones((1, 3)), 'stress': stress}
    labelled.calc = SinglePointCalculator(labelled, **results)
    write(tmp_path / 'b.xyz', [labelled, bare], format='extxyz')
    frames = read_extxyz(tmp_path / 'b.xyz')
    assert frames.label_mask.tolist() == [HAS_ENERGY | HAS_FORCES | HAS_STRESS, 0]
    assert frames.energy[0] == -1.5  # the energy that belongs to the forces
    np.testing.assert_allclose(frames.stress[0], stress)


def test_empty_and_unreadable_files(tmp_path):
    write_extxyz(tmp_path / 'none.xyz', Frames.from_atoms([]))
    assert len(read_extxyz(tmp_path / 'none.xyz')) == 0
    (tmp_path / 'bad.xyz').write_text('3\n\nSi 0 0\n')
    with pytest.raises(ValueError, match=r'bad\.xyz'):
        read_extxyz(tmp_path / 'bad.xyz')
