"""A committee of teachers halts the MD: as a process, and refused where it cannot be asked."""

import shutil

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.data.teacher import TeacherModelData
from aiida_pyacemaker.science.ace import ActiveSet, build_potential
from aiida_pyacemaker.science.config import FitConfig

LammpsCalculation = CalculationFactory('pyacemaker.lammps')


@pytest.fixture
def inputs(lammps_code, teacher, serial_options, tmp_path):
    """Silicon in which no force acts; γ of its potential means nothing here."""
    empty = build_potential(['Si'], FitConfig(number_of_functions_per_element=10, cutoff=4.0))
    empty.write_yaml(tmp_path / 'potential.yaml')
    ActiveSet(inverses={'Si': np.eye(empty.n_functions[0])}).write(tmp_path / 'potential.asi')
    crystal = bulk('Si', cubic=True, a=5.43)
    crystal.rattle(0.05, seed=1)
    return {
        'code': lammps_code,
        'potential': AcePotentialData.from_folder(tmp_path).store(),
        'structure': AtomicDatasetData.from_atoms(crystal).store(),
        'teacher': teacher,
        'md': orm.Dict({'n_steps': 100, 'restart_every': 20, 'dump_every': 20}),
        'thresholds': orm.Dict({'measure': 'teacher', 'threshold_add_train': 0.001, 'threshold_call_dft': 0.002,
                                'threshold_danger': 50.0}),
        'seed': orm.Int(3),
        'metadata': {'options': serial_options},
    }  # fmt: skip


def test_a_committee_that_disagrees_halts_the_md(inputs):
    outputs, node = run_get_node(LammpsCalculation, inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['outcome'].value == 'halted'
    frames = outputs['frames'].get_frames()
    assert 0.002 < frames.gamma.max() < 2.0
    assert outputs['summary']['measure'] == 'teacher'
    stored = node.base.repository.list_object_names()
    assert not [name for name in stored if 'model' in name or name == 'teacher']


def test_what_cannot_ask_a_teacher_is_refused_by_name(inputs, aiida_code_installed, localhost, teacher_files):
    stock = aiida_code_installed(label='stock', computer=localhost, filepath_executable=shutil.which('true'))
    with pytest.raises(ValueError, match=r"measure = 'teacher': true \(stock\) cannot ask.*pyacemaker-lmp"):
        run_get_node(LammpsCalculation, {**inputs, 'code': stock})
    alone = TeacherModelData.from_files(teacher_files[:1], source='test', licence='MIT').store()
    with pytest.raises(ValueError, match='two members or more, found one that has 1 member'):
        run_get_node(LammpsCalculation, {**inputs, 'teacher': alone})
    with pytest.raises(ValueError, match='found none'):
        run_get_node(LammpsCalculation, {name: node for name, node in inputs.items() if name != 'teacher'})
