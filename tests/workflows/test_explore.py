"""MD in segments as a WorkChain: goal, halt, roll-back, wall limit, kills."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from ase.build import bulk

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.ace import AcePotential
from aiida_pyacemaker.workflows.explore import ExplorationWorkChain
from aiida_pyacemaker.workflows.lammps_base import must_roll_back, resume_step

FIXTURES = Path(__file__).parents[1] / 'fixtures'


@pytest.fixture
def inputs(lammps_code, serial_options):
    return {
        'lammps_code': lammps_code,
        'potential': AcePotentialData.from_folder(FIXTURES / 'md').store(),
        'structure': AtomicDatasetData.from_atoms(bulk('Cu', cubic=True, a=3.6) * (2, 2, 2)).store(),
        'md': orm.Dict({'n_steps': 40, 'restart_every': 10, 'dump_every': 10}),
        'options': serial_options,
    }


def runs_of(node):
    """Return the runs of LAMMPS below an exploration by the label of their call."""
    (md,) = (link.node for link in node.base.links.get_outgoing().all() if link.link_label == 'md')
    links = md.base.links.get_outgoing().all()
    return {link.link_label: link.node for link in links if link.link_label.startswith('iteration')}


def test_an_unphysical_halt_resumes_before_the_excursion_and_says_that_it_teaches_nothing(inputs):
    """Copper so dense that neighbours are 1.91 Å apart, below 1.98 Å: no frame is fit to be learnt."""
    rule = {'threshold_danger': 1e6}
    dense = bulk('Cu', cubic=True, a=2.7) * (2, 2, 2)
    inputs |= {
        'structure': AtomicDatasetData.from_atoms(dense).store(),
        'thresholds': orm.Dict(rule),
        'soft_start': orm.Bool(False),
    }
    outputs, node = run_get_node(ExplorationWorkChain, **inputs)
    assert node.exit_status == 403, node.exit_message
    child = runs_of(node)['iteration_01']
    assert outputs['outcome'].value == 'halted'
    assert outputs['summary']['rolled_back']
    assert outputs['summary']['resume_step'] == 0
    assert outputs['restart'].uuid == child.outputs.restart_previous.uuid
    assert outputs['frames'].uuid == child.outputs.frames.uuid


class KilledOnce:
    """A program that is killed in the middle of its first run, once it has written a restart file."""

    TEXT = (
        '#!/bin/bash\n'
        'if [ -e {marker} ]; then exec {program} "$@"; fi\n'
        'touch {marker}; {program} "$@" & until [ -e restart.b ]; do sleep 0.02; done; kill -9 $!; wait\n'
    )


def test_a_killed_segment_is_run_again_with_the_same_inputs(inputs, aiida_code_installed, localhost, tmp_path):
    program, marker = tmp_path / 'lmp', tmp_path / 'marker'
    program.write_text(KilledOnce.TEXT.format(marker=marker, program=inputs['lammps_code'].filepath_executable))
    program.chmod(0o755)
    inputs['lammps_code'] = aiida_code_installed(
        label='dies-once',
        computer=localhost,
        default_calc_job_plugin='pyacemaker.lammps',
        filepath_executable=str(program),
    )
    inputs['md'] = orm.Dict({'n_steps': 3000, 'restart_every': 100, 'dump_every': 100})
    outputs, node = run_get_node(ExplorationWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    found = runs_of(node)
    assert found['iteration_01'].exit_status == 400
    assert 0 < found['iteration_01'].outputs.summary['restart_previous_step'] < 3000
    assert 'restart' not in found['iteration_02'].inputs
    assert sorted(found) == ['iteration_01', 'iteration_02']
    assert not found['iteration_01'].is_finished_ok
    assert found['iteration_01'].inputs.seed.value == found['iteration_02'].inputs.seed.value
    assert found['iteration_02'].outputs.remote_folder.is_cleaned
    assert not found['iteration_01'].outputs.remote_folder.is_cleaned
    assert outputs['outcome'].value == 'goal'
    assert outputs['summary']['last_step'] == 3000


def test_a_wall_limit_adds_a_boundary_and_the_budget_ends_the_run(inputs):
    """The limit of 4 s ends a segment softly after 2 s."""
    inputs['md'] = orm.Dict({'n_steps': 10_000_000, 'restart_every': 1000, 'dump_every': 1000})
    inputs['options'] = {**inputs['options'], 'max_wallclock_seconds': 4}
    outputs, node = run_get_node(ExplorationWorkChain, **inputs, max_segments=orm.Int(2))
    assert node.exit_status == 601, node.exit_message
    first, second = (runs_of(node)[f'iteration_{number:02d}'] for number in (1, 2))
    assert second.inputs.restart.uuid == first.outputs.restart.uuid
    before, after = first.outputs.boundary, second.outputs.boundary
    for name in ('positions', 'velocities', 'step', 'cell'):
        assert np.array_equal(before.get_array(f'last_{name}'), after.get_array(f'first_{name}'))
    assert outputs['outcome'].value == 'walltime'
    assert outputs['summary']['first_step'] == 0
    assert outputs['summary']['n_segments'] == 2
    assert outputs['summary']['last_step'] > first.outputs.summary['last_step']
    assert outputs['restart'].uuid == second.outputs.restart.uuid


def test_a_stride_ends_before_the_goal_and_the_next_goes_on(inputs):
    outputs, node = run_get_node(ExplorationWorkChain, **inputs, until_step=orm.Int(20))
    assert node.is_finished_ok, node.exit_message
    assert (outputs['outcome'].value, outputs['summary']['last_step']) == ('stride', 20)
    assert not outputs['summary']['rolled_back']
    del inputs['structure']
    outputs, node = run_get_node(ExplorationWorkChain, **inputs, restart=outputs['restart'], until_step=orm.Int(40))
    assert node.is_finished_ok, node.exit_message
    assert (outputs['outcome'].value, outputs['summary']['first_step']) == ('goal', 20)
    with pytest.raises(ValueError, match='until_step = 0: expected a step above 0'):
        run_get_node(ExplorationWorkChain, **inputs, restart=outputs['restart'], until_step=orm.Int(0))


class DiskFullOnce:
    """A program whose first run has a file system of 400 kB, which its ring of dumps fills."""

    TEXT = (
        '#!/bin/bash\n'
        'if [ -e {marker} ]; then exec {program} "$@"; fi\n'
        'touch {marker}; here=$PWD; cp * {disk}; cd {disk}; {program} "$@"; status=$?\n'
        'cp {disk}/* $here; exit $status\n'
    )


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 400 kB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip('no mount on this system')
    if done.returncode:
        pytest.skip('no right to mount a small disk')
    yield disk
    subprocess.run(['umount', str(disk)], check=True)


def test_a_full_disk_leaves_a_restart_file_and_md_goes_on_from_it(
    inputs, small_disk, aiida_code_installed, localhost, tmp_path
):
    program = tmp_path / 'lmp'
    real = inputs['lammps_code'].filepath_executable
    program.write_text(DiskFullOnce.TEXT.format(marker=tmp_path / 'marker', program=real, disk=small_disk))
    program.chmod(0o755)
    inputs['lammps_code'] = aiida_code_installed(
        label='small-disk',
        computer=localhost,
        default_calc_job_plugin='pyacemaker.lammps',
        filepath_executable=str(program),
    )
    inputs['md'] = orm.Dict({'n_steps': 400, 'restart_every': 50, 'dump_every': 50, 'ring_size': 500})
    outputs, node = run_get_node(ExplorationWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    found = runs_of(node)
    first, second = (found[f'iteration_{number:02d}'] for number in (1, 2))
    assert (first.exit_status, len(found)) == (402, 2)
    step = first.outputs.summary['restart_previous_step']
    assert 0 < step < first.outputs.summary['last_step'] < 400
    assert second.inputs.restart.uuid == first.outputs.restart_previous.uuid
    assert first.outputs.remote_folder.is_cleaned, 'the space it took is free again'
    assert (outputs['outcome'].value, second.outputs.summary['first_step']) == ('goal', step)


@pytest.fixture
def heating_potential(tmp_path):
    """The fixture's potential upside down: its crystal is where forces drive atoms apart or together, fast."""
    potential = AcePotential.read(FIXTURES / 'md' / 'potential.yaml')
    potential.with_coefficients(-3.0 * np.array(potential.coefficients)).write_yaml(tmp_path / 'potential.yaml')
    (tmp_path / 'potential.asi').write_bytes((FIXTURES / 'md' / 'potential.asi').read_bytes())
    return AcePotentialData.from_folder(tmp_path).store()


def test_a_potential_that_heats_the_atoms_is_rejected_with_all_that_keeping_the_old_one_takes(
    inputs, heating_potential
):
    blind = {'threshold_add_train': 1e6, 'threshold_call_dft': 1e7, 'threshold_danger': 1e8}
    md = {'n_steps': 400, 'restart_every': 100, 'dump_every': 100, 'soft_start_steps': 50, 'swap_steps': 100}
    inputs |= {'thresholds': orm.Dict(blind), 'md': orm.Dict(md)}
    first, node = run_get_node(ExplorationWorkChain, **inputs, until_step=orm.Int(50))
    assert node.is_finished_ok, node.exit_message
    del inputs['structure']
    inputs |= {'restart': first['restart'], 'soft_start': orm.Bool(True)}
    outputs, node = run_get_node(
        ExplorationWorkChain,
        **{**inputs, 'potential': heating_potential, 'previous_potential': inputs['potential']},
    )
    assert node.exit_status == 404, (node.exit_message, outputs['summary'].get_dict())
    summary = outputs['summary'].get_dict()
    assert (outputs['outcome'].value, summary['resume_step'], summary['rolled_back']) == ('overshoot', 50, True)
    assert summary['swap']['rejected'] and summary['swap']['overshoot'] > 0.5
    assert outputs['restart'].uuid == first['restart'].uuid
    (run,) = runs_of(node).values()
    assert run.outputs.thermo.get_array('soft_start')[:7].tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert 'previous' not in run.base.repository.list_object_names()
    kept, node = run_get_node(ExplorationWorkChain, **inputs, previous_potential=inputs['potential'])
    assert node.is_finished_ok, node.exit_message
    assert kept['outcome'].value == 'goal' and not kept['summary']['swap']['rejected']


def test_the_same_again_is_served_from_the_cache_although_its_remote_folder_is_gone(inputs):
    with enable_caching(identifier='aiida.calculations:pyacemaker.*'):
        _, first = run_get_node(ExplorationWorkChain, **inputs)
        outputs, second = run_get_node(ExplorationWorkChain, **inputs)
    assert first.is_finished_ok and second.is_finished_ok, second.exit_message
    made, copied = runs_of(first)['iteration_01'], runs_of(second)['iteration_01']
    assert made.outputs.remote_folder.is_cleaned
    assert copied.base.caching.get_cache_source() == made.uuid
    assert outputs['outcome'].value == 'goal'


def test_what_can_be_seen_to_be_wrong_is_refused_at_the_top(inputs):
    wrong = {
        'no multiple of thresholds.check_every': {'md': orm.Dict({'restart_every': 15})},
        'no restart file would be written': {'md': orm.Dict({'restart_every': 10**9})},
        'missing: newton on, neigh half': {'settings': orm.Dict({'cmdline': ['-k', 'on', 'g', '1', '-sf', 'kk']})},
    }
    for message, change in wrong.items():
        with pytest.raises(ValueError, match=message):
            run_get_node(ExplorationWorkChain, **{**inputs, **change})


def test_what_lammps_refuses_is_not_tried_again(inputs):
    del inputs['structure']
    inputs['restart'] = orm.SinglefileData(io.BytesIO(b'no restart file'), filename='x').store()
    _, node = run_get_node(ExplorationWorkChain, **inputs)
    assert node.exit_status == 401
    assert len(runs_of(node)) == 1


def test_the_builder_comes_from_a_protocol(lammps_code):
    builder = ExplorationWorkChain.get_builder_from_protocol(
        lammps_code, protocol='fast', overrides={'md': {'n_steps': 7}}, options={'max_wallclock_seconds': 60}
    )
    assert builder.md['n_steps'] == 7
    assert builder.options['max_wallclock_seconds'] == 60
    with pytest.raises(ValueError, match='nonsense'):
        ExplorationWorkChain.get_builder_from_protocol(lammps_code, overrides={'nonsense': {}})
    with pytest.raises(ValueError, match='no port wrong'):
        ExplorationWorkChain.get_builder_from_protocol(lammps_code, wrong=1)


def test_where_md_resumes():
    row = {'outcome': 'halted', 'end_is_physical': True, 'last_step': 50, 'first_step': 0, 'restart_previous_step': 20}
    assert (must_roll_back(row), resume_step(row)) == (False, 50)
    row['end_is_physical'] = False
    assert (must_roll_back(row), resume_step(row)) == (True, 20)
    assert resume_step({**row, 'restart_previous_step': None}) == 0
    assert not must_roll_back({**row, 'outcome': 'goal'})
