"""Pieces on disk become one file without being held together."""

import numpy as np
from ase.build import bulk

from aiida_pyacemaker.science.frames import FRAME_COLUMNS, Frames, concatenate_frames
from aiida_pyacemaker.tasks.pieces import join_pieces, piece_file


def test_joined_pieces_are_the_concatenated_frames_with_groups_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [bulk('Cu'), bulk('NaCl', 'rocksalt', a=5.6), bulk('Si', cubic=True)]
    parts = [
        Frames.from_atoms(cells[:2], config_type=['a', 'b'], group=[0, 1]),
        Frames.from_atoms([]),
        Frames.from_atoms(cells[1:], config_type=['c', 'c'], group=[0, 0]),
    ]
    for index, part in enumerate(parts):
        part.save(piece_file(f'p{index}'))
    join_pieces(['p0', 'p1', 'p2'], 'all.npz')
    found, wanted = Frames.load('all.npz'), concatenate_frames(parts)
    assert found.content_digest() == wanted.content_digest()
    assert found.group.tolist() == [0, 1, 2, 2] and found.config_type.tolist() == ['a', 'b', 'c', 'c']
    for name in set(FRAME_COLUMNS) - {'group'}:
        assert np.array_equal(getattr(found, name), getattr(wanted, name), equal_nan=name in ('energy', 'stress')), name
