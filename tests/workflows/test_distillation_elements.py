"""From elements or a molecule to a student: a metal pair and a molecule with ASE's EMT, silicon with MACE."""

import json

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from ase.build import bulk, molecule
from ase.io import write
from click.testing import CliRunner

from aiida_pyacemaker.cli import main
from aiida_pyacemaker.data.teacher import TeacherModelData
from aiida_pyacemaker.report.distillation import describe_parts, describe_run
from aiida_pyacemaker.workflows.distillation import DistillationWorkChain

NONE = dict.fromkeys(('n_strained', 'n_rattled', 'n_vacancy', 'n_md_frames'), 0)
FIT = {'number_of_functions_per_element': 12, 'cutoff': 4.5, 'complete_active_set': True}


def settings(pool, **more):
    pool = {'n_dimers': 12, 'max_atoms': 4, 'md_temperatures_K': [], 'md_steps_between_frames': 2, **NONE, **pool}
    selection = {'method': 'random', 'quota_floor': 0.5}
    distillation = {'n_selected': 24, 'held_out_fraction': 0.3, 'selection': selection, 'pool': pool, **more}
    return {'distillation': distillation, 'fit': FIT}


@pytest.fixture
def emt(tmp_path):
    """EMT through its card: any ASE calculator is a teacher."""
    card = {
        'teacher': 'ase',
        'settings': {'model': 'ase.calculators.emt:EMT', 'elements': ['Al', 'Cu', 'H', 'O'], 'licence': 'LGPL-2.1'},
    }
    (tmp_path / 'emt.json').write_text(json.dumps(card))
    return tmp_path / 'emt.json'


def distil(task_code, overrides, **inputs):
    builder = DistillationWorkChain.get_builder_from_protocol(
        task_code, protocol='fast', overrides=overrides, seed=orm.Int(3), **inputs
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    return node


def test_a_metal_pair_from_its_elements_alone(task_code, emt):
    # eight atoms: in fewer all forces vanish by symmetry
    counts = {'n_strained': 30, 'n_rattled': 20, 'n_md_frames': 6, 'max_atoms': 8}
    pool = {'structure_types': ['fcc', 'B2'], 'check_forces': False, **counts}
    wanted = settings(pool, max_rounds=2, worth_gain=0.001, learning_curve=[0.1])
    node = distil(task_code, wanted, elements=['Al', 'Cu'], teacher=str(emt))
    report = node.outputs.report.get_dict()
    assert set(report['pool']['systems']) == {'Al', 'Cu', 'Al-Cu'} and len(node.outputs.prototypes) == 3
    inferred = report['pool']['inferred']
    assert inferred['covalent_radii_A'] == {'Al': 1.21, 'Cu': 1.32}
    assert inferred['md_temperatures_K'] == {'Al': [230.0, 700.0], 'Cu': [340.0, 1020.0]}
    copper = next(row for row in inferred['prototypes'] if row['formula'] == 'Cu')
    assert copper['volume_A3_per_atom'] == pytest.approx(3.59**3 / 4, rel=0.01)  # EMT's own lattice constant
    assert set(node.outputs.ground_state.elements) == {'Al', 'Cu'}
    held_out = node.outputs.held_out.get_frames()
    assert sum(row['n_frames'] for row in report['by_subsystem'].values()) == len(held_out)
    assert set(report['by_generator']) <= {'strained', 'rattled', 'md'}
    # a student of a tenth of the labels is worse, so the curve promised more: a second pool was made and learnt from,
    # nothing kept out of it
    assert 'teacher_01' in node.outputs.blocks and len(node.outputs.more_labelled.teacher_01) > 0
    assert report['student']['learning_curve']['n_frames'][-1] > len(node.outputs.labelled)
    assert not set(node.outputs.labelled.get_frames().group) & set(held_out.group)
    words = '\n'.join([describe_run(report), *describe_parts(report)])
    assert f'\nAl-Cu            {report["pool"]["systems"]["Al-Cu"]:>6}' in words and 'twice as many promise' in words


def test_a_molecule_from_a_file(task_code, emt, tmp_path):
    write(tmp_path / 'water.xyz', molecule('H2O'))
    pool = {'n_normal_modes': 30, 'n_rattled': 15, 'n_monte_carlo': 10}
    node = distil(task_code, settings(pool), structures=[tmp_path / 'water.xyz'], teacher=str(emt))
    report = node.outputs.report.get_dict()
    assert node.inputs.elements.get_list() == ['H', 'O'] and list(report['pool']['systems']) == ['H-O']
    assert report['pool']['counts']['normal_modes'] > 20
    assert report['zero_shot_error_against_teacher']['rmse_forces_eV_per_A'] < 5.0


DIES_ONCE = """#!/bin/bash
if [ $1 != sample -o -e {marker} ] || grep -q '"mode": "dimers"' task.json; then exec {program} "$@"; fi
touch {marker}; {program} "$@" & until grep -qs '"done": 3' progress.jsonl; do sleep 0.01; done; kill -9 $!; wait
"""


def test_a_killed_task_is_resumed_with_what_it_had_finished(task_code, emt, aiida_code_installed, localhost, tmp_path):
    program, marker = tmp_path / 'task', tmp_path / 'marker'
    program.write_text(DIES_ONCE.format(marker=marker, program=task_code.filepath_executable))
    program.chmod(0o755)
    mortal = aiida_code_installed(label='task-dies-once', computer=localhost, filepath_executable=str(program))
    pool = {'structure_types': ['fcc'], 'n_strained': 40, 'n_rattled': 40, 'n_md_frames': 20, 'max_atoms': 8}
    node = distil(mortal, settings(pool), elements=['Al', 'Cu'], teacher=str(emt))
    calls = {link.link_label: link.node for link in node.base.links.get_outgoing(link_type=LinkType.CALL_CALC).all()}
    killed, resumed = calls['sample_pool'], calls['sample_pool_resumed_1']
    assert killed.exit_status == 302 and resumed.inputs.unfinished.uuid == killed.outputs.remote_folder.uuid
    made = resumed.outputs.report.get_dict()
    assert 3 <= made['n_pieces_reused'] < made['n_pieces'] and 0 < made['n_frames_reused'] < made['n_frames']
    undisturbed = killed.get_builder_restart()  # the program dies but once
    outputs, _ = run_get_node(undisturbed)
    assert outputs['report']['n_pieces_reused'] == 0
    assert outputs['dataset'].get_frames().content_digest() == node.outputs.pool.get_frames().content_digest()
    # what a run with other inputs left is refused
    again = resumed.get_builder_restart()
    again.seed = orm.Int(resumed.inputs.seed.value + 1)
    with pytest.raises(ValueError, match='unfinished: the run that left it had other seed'):
        run_get_node(again)


def test_silicon_from_its_element_with_a_committee_and_its_error_against_other_labels(
    task_code, teacher_files, core_labels
):
    pool = {'structure_types': ['diamond', 'bcc'], 'n_strained': 20, 'n_rattled': 14}
    node = distil(
        task_code,
        settings(pool, uncertainty_threshold=2.0),
        elements=['Si'],
        teacher=[str(path) for path in teacher_files],
        reference=core_labels,
    )
    report = node.outputs.report.get_dict()
    assert isinstance(node.inputs.teacher, TeacherModelData) and node.inputs.teacher.n_members == 3
    # the reference are forces of one member on three core atoms: the committee is near, and not equal
    own = report['teacher_error_against_dft']
    assert own['n_components'] == 9 and 0.0 < own['rmse_forces_eV_per_A'] < 1.0
    ground = node.outputs.ground_state.get_frames().atoms(0)
    assert ground.get_volume() / len(ground) == pytest.approx(bulk('Si').get_volume() / 2, rel=0.05)


def test_the_command_names_what_it_lacks(task_code):
    runner = CliRunner()
    empty = runner.invoke(main, ['distil', '--profile', 'none-such'])
    assert empty.exit_code and 'setup' in empty.output
