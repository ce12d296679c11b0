"""Logs, dumps and restart files of real runs are read for what they are."""

from pathlib import Path

import numpy as np
import pytest

from aiida_pyacemaker.science.md import read_dump, read_log, read_restart_step, read_thermo, to_frames

FOLDER = Path(__file__).parents[2] / 'fixtures' / 'lammps'

# log -> ending, last step, failure
ENDINGS = {
    'log.md': ('completed', 200, None),
    'log.restart': ('completed', 300, None),
    'log.hybrid': ('completed', None, None),
    'log.halt': ('halt', 120, None),
    'log.two': ('halt', 120, None),
    'log.hardhalt': ('halt', 100, None),
    'log.lost': ('error', 0, 'lost_atoms'),
    'log.mpilost': ('error', 0, 'lost_atoms'),
    'log.expl': ('error', 0, 'lost_atoms'),
    'log.pybad': ('error', 20, 'crashed'),
    'log.null': ('error', None, 'refused'),
    'log.missing_asi': ('error', None, 'refused'),
    'log.foreign_asi': ('error', None, 'refused'),
    'log.unknown_element': ('error', None, 'refused'),
    'log.timer': ('walltime', 330, None),
    'log.kill': ('killed', 200, None),
    'log.term': ('killed', None, None),
}


@pytest.mark.parametrize('name', ENDINGS)
def test_endings_of_real_logs(name):
    ending, last, failure = ENDINGS[name]
    log = read_log((FOLDER / name).read_text())
    assert (log.ending, log.failure) == (ending, failure)
    if last is not None:
        assert log.last_step == last
    assert np.all(np.diff(log.thermo.get('Step', [0])) > 0)


def test_the_halt_has_its_step_and_value():
    log = read_log((FOLDER / 'log.halt').read_text())
    assert log.halts == {'hlt': (120, pytest.approx(8.016135076950377))}
    assert log.n_atoms == 256
    assert log.n_steps == 120


def test_an_error_that_is_on_the_screen_only_is_seen():
    text = 'LAMMPS (28 Mar 2023)\n'
    assert read_log(text).ending == 'killed'
    log = read_log(text, (FOLDER / 'screen.bad').read_text())
    assert (log.ending, log.failure) == ('error', 'refused')
    assert 'yaml-cpp' in log.error


def test_the_table_of_the_known_frame_is_no_part_of_the_run():
    text = (
        'LAMMPS (29 Aug 2024)\n   Step PotEng c_max_gamma c_sum_gamma\n 0 -3.5 1.2 20.5\n'
        'Loop time of 1e-06 on 1 procs for 0 steps with 4 atoms\n'
        'CANARY max_gamma 1.2 1.25 sum_gamma 20.5 20.5 energy -3.5 -3.1\n'
        '   Step Temp PotEng\n 10 300 -5.0\n 20 310 -4.9\n'
    )
    log = read_log(text)
    assert log.canary == {'max_gamma': (1.2, 1.25), 'sum_gamma': (20.5, 20.5), 'energy': (-3.5, -3.1)}
    assert log.thermo['PotEng'].tolist() == [-5.0, -4.9]
    assert (log.n_atoms, log.ending) == (0, 'killed')


def test_thermo_columns_are_numbers_and_cut_off_rows_are_left_out():
    text = (FOLDER / 'log.kill').read_text()
    table = read_thermo(text)
    assert table['Temp'][:2].tolist() == [300.0, 50.963361]
    half = text[: text.index('259.00038')] + '259.0'
    assert read_thermo(half)['Step'][-1] == 180
    assert read_thermo('') == {}


def test_dumps_are_sorted_by_id_and_become_frames():
    shots = read_dump(FOLDER / 'halt.dump')
    assert all(np.array_equal(shot.columns['id'], np.arange(1, 257)) for shot in shots)
    frames = to_frames(shots, ['Cu'])
    assert frames.cells[0] == pytest.approx(14.4 * np.eye(3))
    assert frames.gamma[0] == pytest.approx(1.28387)
    assert (frames.numbers == 29).all()


def test_a_dump_that_was_cut_off_is_read_as_far_as_it_is_complete(tmp_path):
    text = (FOLDER / 'halt.dump').read_text()
    (tmp_path / 'cut').write_text(text[: len(text) // 2])
    assert len(read_dump(tmp_path / 'cut')) < len(read_dump(FOLDER / 'halt.dump'))
    (tmp_path / 'cut').write_text(text[:500])
    with pytest.raises(ValueError, match='no complete snapshot'):
        read_dump(tmp_path / 'cut')


def test_tilted_boxes_are_read_from_their_bounding_box(tmp_path):
    text = (
        'ITEM: TIMESTEP\n7\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS xy xz yz pp pp ff\n'
        '-1 12 2\n0 8.5 -1\n0 6 0.5\nITEM: ATOMS id type x y z\n1 1 1 2 3\n'
    )
    (tmp_path / 'x').write_text(text)
    shot = read_dump(tmp_path / 'x')[0]
    assert shot.cell.tolist() == [[10, 0, 0], [2, 8, 0], [-1, 0.5, 6]]
    assert shot.origin.tolist() == [0, 0, 0]
    assert shot.pbc.tolist() == [True, True, False]


def test_the_step_of_a_restart_file_is_in_its_header(tmp_path):
    content = (FOLDER / 'final.restart').read_bytes()
    assert read_restart_step(FOLDER / 'final.restart') == 20
    for wrong in (content[:-1], b'x' * 500, b''):
        (tmp_path / 'x').write_bytes(wrong)
        with pytest.raises(ValueError, match='not a complete LAMMPS restart file'):
            read_restart_step(tmp_path / 'x')
