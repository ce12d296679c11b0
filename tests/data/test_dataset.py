"""The dataset node: nothing is lost, nothing is renamed, equal content is equal."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import calcfunction
from ase.build import bulk, molecule

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.frames import ATOM_COLUMNS, FRAME_COLUMNS, HAS_ENERGY, HAS_FORCES, Frames


def labelled_frames(seed=0):
    structures = [bulk('Si', 'diamond', a=5.43), molecule('SiH4'), bulk('SiC', 'zincblende', a=4.36).repeat(2)]
    rng = np.random.default_rng(seed)
    n_atoms = sum(map(len, structures))
    return Frames.from_atoms(
        structures,
        energy=np.array([-10.0, np.nan, -50.0]),
        forces=rng.normal(size=(n_atoms, 3)),
        label_mask=np.array([HAS_ENERGY | HAS_FORCES, 0, HAS_ENERGY | HAS_FORCES], dtype=np.uint8),
        theory_id=np.array([0, -1, 0]),
        config_type=np.array(['bulk', 'molecule', 'bulk']),
        theories=({'kind': 'teacher', 'digest': 'abc'},),
    )


def test_round_trip_keeps_every_column():
    frames = labelled_frames()
    for node in (AtomicDatasetData.from_frames(frames), AtomicDatasetData.from_frames(frames).store()):
        back = node.get_frames()
        for name in ('offsets', *FRAME_COLUMNS, *ATOM_COLUMNS):
            np.testing.assert_array_equal(getattr(back, name), getattr(frames, name), err_msg=name)
        assert back.theories == frames.theories


def test_one_frame_is_read_alone():
    frames = labelled_frames()
    node = AtomicDatasetData.from_frames(frames).store()
    assert len(node) == 3
    for index in range(3):
        one, wanted = node[index], frames.select([index])
        for name in ('offsets', *FRAME_COLUMNS, *ATOM_COLUMNS):
            np.testing.assert_array_equal(getattr(one, name), getattr(wanted, name), err_msg=name)
    assert [len(atoms) for atoms in node.iter_ase()] == [2, 5, 16]
    with pytest.raises(IndexError, match='frame 3 of 3'):
        node[3]


def test_equal_content_has_equal_hash_and_no_name_holds_a_uuid():
    first, second = (AtomicDatasetData.from_frames(labelled_frames()).store() for _ in range(2))
    other = AtomicDatasetData.from_frames(labelled_frames(seed=1)).store()
    assert first.base.caching.compute_hash() == second.base.caching.compute_hash()
    assert first.base.caching.compute_hash() != other.base.caching.compute_hash()
    names = {f'{name}.npy' for name in ('offsets', 'fingerprint', *FRAME_COLUMNS, *ATOM_COLUMNS)}
    assert set(first.base.repository.list_object_names()) == names


def test_attributes_answer_queries():
    node = AtomicDatasetData.from_frames(labelled_frames()).store()
    query = orm.QueryBuilder().append(
        AtomicDatasetData,
        filters={'id': node.pk, 'attributes.elements': {'contains': ['C']}, 'attributes.n_labelled.energy': 2},
    )
    assert query.count() == 1
    assert node.elements == ('C', 'H', 'Si')
    assert node.base.attributes.get('energy_per_atom_range_eV') == [-5.0, -3.125]
    assert node.base.attributes.get('config_types') == {'bulk': 2, 'molecule': 1}
    assert node.content_digest == labelled_frames().content_digest()


def test_empty_dataset_is_a_dataset():
    node = AtomicDatasetData.from_atoms().store()
    assert len(node) == 0 and node.elements == () and len(node.get_frames()) == 0


@calcfunction
def collect_frames(**frames):
    structures = [frames[name].get_ase() for name in sorted(frames)]
    return AtomicDatasetData.from_atoms(*structures)


def test_provenance_follows_the_link_of_the_row():
    sources = [orm.StructureData(ase=bulk('Si', 'diamond', a=value)) for value in (5.3, 5.4, 5.5)]
    node = collect_frames(**{f'frame_{2 * index:05d}': source for index, source in enumerate(sources)})
    assert [node.provenance(index).pk for index in range(3)] == [source.pk for source in sources]
    assert AtomicDatasetData.from_atoms(bulk('Si')).provenance(0) is None
