"""The task CalcJobs against the real task programs: files in, nodes out, failures with names."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.data.teacher import TeacherModelData
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES
from aiida_pyacemaker.tasks.main import TASKS

SMALL_POOL = {'n_strained': 4, 'n_rattled': 4, 'n_vacancy': 1, 'n_md_frames': 0, 'n_dimers': 3, 'max_atoms': 8}


def rattled(count, seed=0, symbol='Si'):
    rng = np.random.default_rng(seed)
    cells = [bulk(symbol, 'diamond', a=5.43, cubic=True) for _ in range(count)]
    for atoms in cells:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return AtomicDatasetData.from_atoms(*cells).store()


def prepare(name, folder, **inputs):
    """Return the task model that the task program would make of what the CalcJob writes."""
    calculation = CalculationFactory(f'pyacemaker.{name}')
    process = instantiate_process(get_manager().get_runner(), calculation, **inputs)
    info = process.prepare_for_submission(folder)
    task = importlib.import_module(f'aiida_pyacemaker.tasks.{name}').TASK
    return task.model_validate_json(Path(folder.get_abs_path('task.json')).read_text()), info


@pytest.mark.parametrize('name', TASKS)
def test_settings_are_fields_of_the_task(name):
    calculation = CalculationFactory(f'pyacemaker.{name}')
    fields = importlib.import_module(f'aiida_pyacemaker.tasks.{name}').TASK.model_fields
    assert set(calculation.SETTINGS) <= set(fields)
    for key, model in calculation.SETTINGS.items():
        assert model is None or fields[key].annotation is model, key


def test_input_nodes_become_files_the_task_names(task_code, teacher):
    dataset = rattled(3)
    indices = orm.ArrayData({'selected': np.array([2, 0])})
    with SandboxFolder() as folder:
        task, info = prepare(
            'label',
            folder,
            code=task_code,
            dataset=dataset,
            indices=indices,
            indices_name=orm.Str('selected'),
            teacher=teacher,
            settings=orm.Dict({'uncertainty_threshold': 0.5}),
        )
        assert task.uncertainty_threshold == 0.5
        named = [task.frames, task.indices, *task.models]
        assert set(named) == set(info.provenance_exclude_list)
        assert np.load(folder.get_abs_path(task.indices)).tolist() == [2, 0]
    assert info.codes_info[0].cmdline_params == ['label', 'task.json']


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'threshold': 1.0}, ['settings', 'threshold', 'uncertainty_threshold']),
        ({'pool': {'n_strained': -1}}, ['settings.pool.n_strained', '-1', 'greater than or equal to 0']),
        ({'pool': {'n_strianed': 1}}, ['settings.pool.n_strianed', 'not permitted']),
    ],
)
def test_settings_are_refused_by_port_key_and_value(task_code, teacher, settings, words):
    name = 'label' if 'threshold' in settings else 'sample'
    inputs = {'dataset': rattled(1)} if name == 'label' else {'seed': orm.Int(0)}
    builder = CalculationFactory(f'pyacemaker.{name}').get_builder()
    builder.code, builder.teacher = task_code, teacher
    for port, node in inputs.items():
        setattr(builder, port, node)
    with pytest.raises(ValueError) as refused:
        builder.settings = orm.Dict(settings)
    assert all(word in str(refused.value) for word in words)


def test_pool_selection_and_labels_become_nodes(task_code, teacher, silicon_prototypes):
    settings = orm.Dict({'mode': 'pool', 'elements': ['Si'], 'pool': SMALL_POOL})
    sampled, sample = run_get_node(
        CalculationFactory('pyacemaker.sample'),
        code=task_code, structures=silicon_prototypes, teacher=teacher, seed=orm.Int(3), settings=settings,
    )
    assert sample.is_finished_ok, sample.exit_message
    pool = sampled['dataset']
    assert len(pool) >= 8 and pool.elements == ('Si',)
    chosen, select = run_get_node(
        CalculationFactory('pyacemaker.select'),
        code=task_code, dataset=pool, teacher=teacher, seed=orm.Int(4),
        settings=orm.Dict({'count': 5, 'held_out_fraction': 0.2}),
    )
    assert select.is_finished_ok, select.exit_message
    rows = chosen['selection'].get_array('selected')
    assert not set(rows) & set(chosen['selection'].get_array('held_out'))
    labelled, label = run_get_node(
        CalculationFactory('pyacemaker.label'),
        code=task_code, dataset=pool, indices=chosen['selection'], indices_name=orm.Str('selected'), teacher=teacher,
    )
    assert label.is_finished_ok, label.exit_message
    frames = labelled['dataset'].get_frames()
    np.testing.assert_array_equal(frames.positions, pool.get_frames().select(rows).positions)
    assert np.all(frames.label_mask & (HAS_ENERGY | HAS_FORCES) == (HAS_ENERGY | HAS_FORCES))
    assert labelled['dataset'].base.attributes.get('theories')[0]['kind'] == 'teacher'
    assert labelled['kept'].get_array('indices').max() < len(rows)
    kept_files = label.base.repository.list_object_names()
    assert 'task.json' in kept_files and 'frames.npz' not in kept_files and 'teacher' not in kept_files
    assert labelled['dataset'].provenance(0).pk == label.pk


def test_same_inputs_are_served_from_the_cache_and_failures_are_not(task_code, teacher):
    label = CalculationFactory('pyacemaker.label')
    inputs = {'code': task_code, 'teacher': teacher, 'dataset': rattled(1)}
    first, _ = run_get_node(label, **inputs)
    strict = {**inputs, 'settings': orm.Dict({'max_force': 1e-9})}
    _, failed = run_get_node(label, **strict)
    assert failed.exit_code.status == 411 and 'none of 1 frames is kept' in failed.exit_message
    with enable_caching():
        second, node = run_get_node(label, **{**inputs, 'dataset': rattled(1)})
        _, again = run_get_node(label, **strict)
    assert node.base.caching.is_created_from_cache
    assert second['dataset'].content_digest == first['dataset'].content_digest
    assert not again.base.caching.is_created_from_cache and again.exit_code.status == 411


def test_unknown_element_has_a_number_and_a_sentence(task_code, teacher):
    _, node = run_get_node(
        CalculationFactory('pyacemaker.label'), code=task_code, teacher=teacher, dataset=rattled(1, symbol='Ge')
    )
    assert node.exit_status == 312 and 'Ge' in node.exit_message


def test_resources_that_the_scheduler_does_not_know_are_refused_before_submission(task_code, teacher):
    options = {'resources': {'parallel_env': 'mpi', 'tot_num_mpiprocs': 2}}
    inputs = {'code': task_code, 'teacher': teacher, 'dataset': rattled(1), 'metadata': {'options': options}}
    before = orm.QueryBuilder().append(orm.ProcessNode).count()
    with pytest.raises(ValueError, match='resources'):
        run_get_node(CalculationFactory('pyacemaker.label'), **inputs)
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == before


def test_a_program_that_leaves_nothing_is_said_to_be_killed(aiida_code_installed, localhost, teacher):
    code = aiida_code_installed(label='true', computer=localhost, filepath_executable='/bin/true')
    _, node = run_get_node(CalculationFactory('pyacemaker.label'), code=code, teacher=teacher, dataset=rattled(1))
    assert node.exit_status == 302 and not node.base.caching.is_valid_cache


def test_a_program_that_loses_its_arrays_is_not_taken_for_finished(aiida_code_installed, localhost, teacher, tmp_path):
    script = tmp_path / 'half_done'
    script.write_text(f"#!/bin/sh\necho '{json.dumps({'status': 0, 'task': 'label'})}' > result.json\n")
    script.chmod(0o755)
    code = aiida_code_installed(label='half', computer=localhost, filepath_executable=str(script))
    _, node = run_get_node(CalculationFactory('pyacemaker.label'), code=code, teacher=teacher, dataset=rattled(1))
    assert node.exit_status == 303 and 'labels.npz' in node.exit_message


def test_teacher_files_are_kept_in_order_and_by_content(teacher_files, teacher, tmp_path):
    names = teacher.base.repository.list_object_names()
    assert sorted(names) == [f'model_{index}.model' for index in range(len(teacher_files))]
    for path, source in zip(teacher.write_to(tmp_path), teacher_files, strict=True):
        assert path.read_bytes() == source.read_bytes()
    assert 'Si' in teacher.elements
    with pytest.raises(ValueError, match='not Xe: give a model'):
        teacher.check_elements(['Xe'])
    with pytest.raises(ValueError, match='missing'):
        TeacherModelData.from_files([tmp_path / 'none.model'], source='nowhere', licence='MIT')
