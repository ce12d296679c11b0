"""A committee of teachers as what halts the MD: served on the checks, equal to what the teacher itself says."""

import numpy as np
import pytest
from ase.build import bulk
from stand_in import PAIR_LINES, Table, run_segment

from aiida_pyacemaker.science.md.dump import read_dump, to_frames
from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

SILICON = bulk('Si', cubic=True, a=5.43)
TEACHERS = ('teacher_0.model', 'teacher_1.model')


@pytest.fixture
def run(tmp_path, teacher_files):
    """Run 30 steps of silicon on which no force acts, checks every 10; return status, log and graded frames."""

    def go(files=TEACHERS, **rule):
        for name, path in zip(files, teacher_files, strict=False):
            (tmp_path / name).write_bytes(path.read_bytes())
        atoms = SILICON.copy()
        atoms.rattle(0.05, seed=1)
        status, log = run_segment(
            tmp_path,
            lambda *_: Table(np.zeros((9, len(atoms)))),
            md={'n_steps': 30, 'ensemble': 'nve', 'temperature_start_K': 600.0},
            rule={'measure': 'teacher', **rule},
            atoms=atoms,
            elements=['Si'],
            pair_lines=(PAIR_LINES[0], 'pair_coeff * * potential.yaml potential.asi Si'),
            teacher_files=files,
        )
        shots = [read_dump(path)[0] for path in sorted(tmp_path.glob('ring.*.dump'))]
        return status, log, to_frames(sorted(shots, key=lambda shot: shot.step), ['Si'])

    return go


def test_the_grade_of_every_check_is_how_far_the_members_disagree(run, teacher_files):
    status, log, frames = run(threshold_add_train=0.5, threshold_call_dft=0.6, threshold_danger=100.0)
    assert status == 0, log.error
    assert log.last_step == 30
    calculator = teacher_calculator(load_teacher(teacher_files[:2]))
    assert len(frames) == 4
    for index in range(len(frames)):
        calculator.calculate(frames.atoms(index), ['forces'])
        np.testing.assert_allclose(frames.gamma[frames.span(index)], calculator.results['uncertainty'], rtol=1e-6)


def test_doubts_above_the_threshold_halt_the_md(run, teacher_files):
    status, log, frames = run(threshold_add_train=1e-6, threshold_call_dft=2e-6, threshold_danger=100.0)
    assert status == 0, log.error
    assert log.halts['call'][0] == 20
    assert frames.gamma.max() > 2e-6


def test_a_committee_of_one_and_a_missing_file_are_refused(run):
    status, log, _ = run(files=TEACHERS[:1])
    assert status == 1 and 'two or more' in log.error
    status, log, _ = run(files=(*TEACHERS, 'other.model', 'third.model', 'fourth.model', 'fifth.model'))
    assert status == 1 and 'cannot open' in log.error and 'fifth.model' in log.error
