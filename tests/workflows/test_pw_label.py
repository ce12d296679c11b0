"""The ladder: rung by rung on a built process, and once through a real SCF that fails first."""

from pathlib import Path

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_quantumespresso.workflows.pw.base import PwBaseWorkChain
from ase.build import bulk

from aiida_pyacemaker.calculations.scf_monitor import MESSAGE_PREFIX, monitor_scf
from aiida_pyacemaker.workflows.dft.cleaning import clean_frame
from aiida_pyacemaker.workflows.dft.ladder import EXTENSIONS, LADDER, apply_rung, find_flags
from aiida_pyacemaker.workflows.dft.pw_label import PwLabelWorkChain, find_error

TOO_SHORT = {'conv_thr': 1e-10, 'mixing_beta': 0.7, 'electron_maxstep': 3}


@pytest.fixture
def inputs(pw_code, serial_options):
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([1, 1, 1])
    parameters = {
        'CONTROL': {'calculation': 'scf', 'tprnfor': True, 'disk_io': 'low'},
        'SYSTEM': {'ecutwfc': 8.0, 'occupations': 'smearing', 'smearing': 'mv', 'degauss': 0.015},
        'ELECTRONS': {'conv_thr': 1e-10, 'mixing_beta': 0.7, 'electron_maxstep': 8},
    }
    atoms = bulk('Si', 'diamond', a=5.2)
    atoms.positions[1, 0] += 0.2
    return {
        'pw': {
            'code': pw_code,
            'structure': orm.StructureData(ase=atoms),
            'pseudos': {'Si': UpfData('/usr/share/espresso/pseudo/Si.pz-vbc.UPF')},
            'parameters': orm.Dict(parameters),
            'metadata': {'options': serial_options},
        },
        'kpoints': kpoints,
    }


@pytest.fixture
def process(inputs):
    built = instantiate_process(get_manager().get_runner(), PwLabelWorkChain, **inputs)
    built.setup()
    return built


def calculation(process, exit_status, *, accuracies=(), n_bands=None, message=None, parameters=None, linked=True):
    """A finished ``pw.x`` run of ``process``, as the engine would leave it: folder, output and number of bands.

    linked: whether its folder is an output, which a worker killed right after the upload has not written down.
    """
    computer = process.inputs.pw.code.computer
    node = orm.CalcJobNode(computer=computer, process_type='aiida.calculations:quantumespresso.pw')
    node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
    node.set_option('output_filename', 'aiida.out')
    node.set_exit_status(exit_status)
    if message:
        node.set_exit_message(message)
    node.set_process_state('finished')
    if parameters is not None:
        node.base.links.add_incoming(orm.Dict(parameters).store(), LinkType.INPUT_CALC, 'parameters')
    node.store()
    remote = orm.RemoteData(computer=computer, remote_path='/tmp')
    retrieved = orm.FolderData()
    lines = [f'     estimated scf accuracy    <  {value:.8f} Ry' for value in accuracies]
    retrieved.base.repository.put_object_from_bytes('\n'.join(lines).encode(), 'aiida.out')
    outputs = {'remote_folder': remote, 'retrieved': retrieved} if linked else {'retrieved': retrieved}
    if n_bands:
        outputs['output_parameters'] = orm.Dict({'number_of_bands': n_bands})
    for name, output in outputs.items():
        output.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label=name)
        output.store()
    return node


def namelists(process):
    return process.ctx.inputs.parameters['ELECTRONS'], process.ctx.inputs.parameters['SYSTEM']


def test_every_rung_is_climbed_once_and_then_the_frame_is_given_up(process):
    process.ctx.inputs.parameters['SYSTEM'] |= {'nspin': 2, 'starting_magnetization': {'Si': -0.4}}
    seen = []
    for _ in LADDER:
        report = process.climb_ladder(calculation(process, 410, n_bands=8))
        assert report.do_break and report.exit_code.status == 0
        electrons, system = namelists(process)
        rest = (electrons.get('diagonalization'), system.get('nbnd'), system['starting_magnetization']['Si'])
        seen.append((electrons['mixing_beta'], electrons.get('mixing_mode'), system['degauss'], *rest))
        assert process.ctx.inputs.parameters['CONTROL']['restart_mode'] == 'from_scratch'
    assert seen == [
        (0.3, None, 0.015, None, None, -0.4),
        (0.1, None, 0.015, None, None, -0.4),
        (0.3, 'local-TF', 0.015, None, None, -0.4),
        (0.3, 'local-TF', 0.035, None, None, -0.4),
        (0.3, 'local-TF', 0.015, 'cg', None, -0.4),
        (0.3, 'local-TF', 0.015, 'cg', 12, -0.4),
        (0.3, 'local-TF', 0.015, 'cg', 12, -0.1),
    ]
    given_up = process.climb_ladder(calculation(process, 410))
    assert given_up.exit_code.status == 420 and 'starting_magnetization' in given_up.exit_code.message


def test_raised_broadening_is_taken_back_before_the_label_counts(process):
    process.ctx.rung = 3
    process.climb_ladder(calculation(process, 410))
    assert process.ctx.inputs.parameters['SYSTEM']['degauss'] == pytest.approx(0.035)
    converged = calculation(process, 0)
    report = process.converge_at_asked_degauss(converged)
    assert report.do_break and report.exit_code.status == 0
    parameters = process.ctx.inputs.parameters
    assert parameters['SYSTEM']['degauss'] == pytest.approx(0.015)
    assert parameters['ELECTRONS']['startingpot'] == 'file'
    assert process.ctx.inputs.parent_folder.uuid == converged.outputs.remote_folder.uuid
    assert process.converge_at_asked_degauss(calculation(process, 0)) is None


def test_a_raised_broadening_that_alone_converges_is_accepted_and_flagged(process):
    """It converges at the raised value, never at the one asked for: the label is kept, and says so."""
    asked = process.inputs.pw.parameters.get_dict()
    process.ctx.rung = 3
    process.climb_ladder(calculation(process, 410))
    raised = calculation(process, 0, parameters=process.ctx.inputs.parameters)
    process.converge_at_asked_degauss(raised)
    process.climb_ladder(calculation(process, 410))
    assert namelists(process)[0]['diagonalization'] == 'cg'
    report = process.climb_ladder(calculation(process, 410))
    assert report.exit_code.status == 0 and process.ctx.is_finished and process.ctx.accepted == raised.pk
    assert find_flags(asked, raised.inputs.parameters.get_dict()) == ['degauss 0.015 -> 0.035']


@pytest.mark.parametrize(('pace', 'extended'), [(10.0**-0.25, True), (1.0, False), (1.2, False)])
def test_the_slope_decides_between_more_steps_and_the_next_rung(process, pace, extended):
    """From 1e-2 Ry down to 1e-10 at a quarter decade a step: 6 steps done, 26 to go; 80 are allowed."""
    electrons, _ = namelists(process)
    electrons['electron_maxstep'] = 80
    failed = calculation(process, 410, accuracies=[1e-2 * pace**step for step in range(7)])
    process.climb_ladder(failed)
    assert (electrons.get('startingpot') == 'file') == extended
    assert electrons['mixing_beta'] == (0.7 if extended else 0.3)
    if extended:
        assert process.ctx.inputs.parent_folder.uuid == failed.outputs.remote_folder.uuid
        for _ in range(EXTENSIONS):
            process.climb_ladder(failed)
        assert electrons['mixing_beta'] == 0.3, 'an SCF is not extended for ever'


@pytest.mark.parametrize('status', [462, 464, 468])
def test_a_failed_factorisation_brings_conjugate_gradients_at_once(process, status):
    report = process.change_diagonaliser(calculation(process, status))
    assert report.do_break and namelists(process)[0]['diagonalization'] == 'cg'
    process.change_diagonaliser(calculation(process, status))
    assert namelists(process)[0]['mixing_beta'] == 0.3


def test_bands_are_added_once(process):
    assert process.add_bands(calculation(process, 463, n_bands=30)).do_break
    assert namelists(process)[1]['nbnd'] == 36
    process.add_bands(calculation(process, 463, n_bands=36))
    assert namelists(process)[1]['nbnd'] == 36 and namelists(process)[0]['mixing_beta'] == 0.3


@pytest.mark.parametrize('status', [303, 305, 312, 120, 340])
def test_a_killed_run_is_repeated_once_with_the_same_inputs(process, status):
    before = str(process.ctx.inputs.parameters)
    report = process.repeat_killed(calculation(process, status))
    assert report.do_break and report.exit_code.status == 0
    assert str(process.ctx.inputs.parameters) == before and 'parent_folder' not in process.ctx.inputs
    again = process.repeat_killed(calculation(process, status, message='cut off'))
    assert again.exit_code.status == 421 and 'cut off' in again.exit_code.message


def test_an_error_that_the_program_names_is_the_reason():
    text = ' %%%\n     Error in routine vloc_of_g (1):\n     2D cutoff is smaller than pseudo cutoff radius\n %%%\n'
    assert find_error(text) == 'vloc_of_g (1): 2D cutoff is smaller than pseudo cutoff radius'
    assert find_error('     iteration #  1\n') is None


def test_walltime_goes_on_from_the_density(process):
    stopped = calculation(process, 400, accuracies=[0.1, 0.02])
    process.go_on_from_density(stopped)
    assert namelists(process)[0]['startingpot'] == 'file'
    assert process.ctx.inputs.parameters['CONTROL']['restart_mode'] == 'from_scratch'
    assert process.ctx.inputs.parent_folder.uuid == stopped.outputs.remote_folder.uuid


def test_a_run_whose_folder_was_never_linked_is_a_label_all_the_same(process):
    parameters = process.inputs.pw.parameters.get_dict()
    process.ctx.children = [calculation(process, 0, n_bands=8, parameters=parameters, linked=False)]
    with process._process_scope():
        process.results()
    outputs = PwLabelWorkChain.spec().outputs
    assert 'output_parameters' in process.outputs and outputs.validate(process.outputs) is None
    stopped = calculation(process, 400, accuracies=[1e-2, 1e-3], linked=False)
    assert process.go_on_from_density(stopped).exit_code.status == 0
    assert 'startingpot' not in namelists(process)[0] and 'parent_folder' not in process.ctx.inputs


def test_a_wall_time_too_short_for_one_iteration_is_no_reason_to_go_on(process):
    report = process.go_on_from_density(calculation(process, 400))
    assert report.exit_code.status == 422


def test_a_run_ended_by_our_monitor_climbs_that_of_another_does_not(process):
    assert process.leave_stuck(calculation(process, 150, message='Job appears stuck')) is None
    assert process.leave_stuck(calculation(process, 150, message=f'{MESSAGE_PREFIX} for 9 s')).do_break
    assert namelists(process)[0]['mixing_beta'] == 0.3


class FolderTransport:
    """A transport of which a monitor needs one method: files of this machine."""

    def getfile(self, source, target):
        Path(target).write_bytes(Path(source).read_bytes())


def test_the_monitor_ends_a_run_whose_output_stands_still(process, tmp_path, monkeypatch):
    """Time counts from the first output and again from every new SCF line; the queue does not count."""
    node = calculation(process, 0)
    node.set_remote_workdir(str(tmp_path))
    clock = [1000.0]
    monkeypatch.setattr('aiida_pyacemaker.calculations.scf_monitor.time.time', lambda: clock[0])

    def look(seconds):
        clock[0] += seconds
        return monitor_scf(node, FolderTransport(), stuck_after_s=100.0)

    assert look(0) is None and look(500) is None
    out = tmp_path / 'aiida.out'
    out.write_text('     iteration #  1     ecut=    12.00 Ry\n')
    assert look(500) is None and look(90) is None
    out.write_text(out.read_text() + '     estimated scf accuracy    <       0.07 Ry\n')
    assert look(90) is None and look(90) is None
    assert look(20).startswith(MESSAGE_PREFIX)


def test_a_step_killed_after_submit_adopts_its_run(process):
    """``run_process`` finds the run that it had submitted before the worker died."""
    orphan = orm.CalcJobNode(computer=process.inputs.pw.code.computer)
    orphan.base.links.add_incoming(process.node, LinkType.CALL_CALC, 'iteration_01')
    orphan.store()
    process.run_process()
    assert process.ctx.iteration == 1
    assert [child.pk for child in process.node.called] == [orphan.pk]
    process.repeat_killed(calculation(process, 303))
    considered = process.node.base.extras.get(process._considered_handlers_extra)
    assert [[name for name, _ in run] for run in considered] == [['repeat_killed']], 'nobody notes what was done to it'


def test_a_rung_that_changes_nothing_is_skipped():
    parameters = {'ELECTRONS': {'mixing_beta': 0.2, 'electron_maxstep': 80}, 'SYSTEM': {}}
    assert apply_rung(parameters, LADDER[0]) == []
    assert apply_rung(parameters, LADDER[1]) == ['mixing_beta 0.2 -> 0.1', 'electron_maxstep 80 -> 120']
    assert apply_rung(parameters, LADDER[5]) == apply_rung(parameters, LADDER[6]) == []


def test_our_handlers_come_before_the_stock_ones():
    stock = {handler.__name__: handler.priority for handler in PwBaseWorkChain.get_process_handlers()}
    ours = {handler.__name__: handler.priority for handler in PwLabelWorkChain.get_process_handlers()}
    assert min(ours[name] for name in set(ours) - set(stock)) > max(stock.values())


def test_what_no_scf_should_be_started_with_is_refused(inputs):
    def refused(match, **changes):
        changed = {**inputs, 'pw': {**inputs['pw'], **changes}}
        with pytest.raises(ValueError, match=match):
            instantiate_process(get_manager().get_runner(), PwLabelWorkChain, **changed)

    close = bulk('Si', 'diamond', a=5.2)
    close.positions[1] = close.positions[0] + [0.0, 0.0, 0.4]
    refused(r'atoms 0 and 1 are 0.400 Å apart', structure=orm.StructureData(ase=close))
    refused('Si', pseudos={})
    charged = inputs['pw']['parameters'].get_dict()
    charged['SYSTEM'] = {'ecutwfc': 8.0, 'occupations': 'fixed', 'tot_charge': 1.0}
    refused('7 electrons are odd without spin in fixed occupations', parameters=orm.Dict(charged))


def test_a_run_that_hangs_is_ended_and_the_ladder_climbed(inputs, aiida_code_installed, localhost, tmp_path):
    """A program that writes one SCF line and then nothing: twice stopped, once with gentler mixing."""
    script = tmp_path / 'hang.sh'
    script.write_text('#!/bin/bash\necho "     iteration #  1"\nexec sleep 300\n')
    script.chmod(0o755)
    inputs['pw']['code'] = aiida_code_installed(
        label='hang',
        computer=localhost,
        default_calc_job_plugin='quantumespresso.pw',
        filepath_executable=str(script),
        with_mpi=False,
    )
    monitor = {'entry_point': 'pyacemaker.scf_stuck', 'kwargs': {'stuck_after_s': 1.0}, 'minimum_poll_interval': 1}
    inputs['pw']['monitors'] = {'scf_stuck': orm.Dict(monitor)}
    _, node = run_get_node(PwLabelWorkChain, **inputs, max_iterations=orm.Int(2))
    assert node.exit_status == 401
    runs = sorted((child for child in node.called if isinstance(child, orm.CalcJobNode)), key=lambda child: child.pk)
    assert [run.exit_status for run in runs] == [150, 150]
    assert all(run.exit_message.startswith(MESSAGE_PREFIX) for run in runs)
    assert [run.inputs.parameters['ELECTRONS']['mixing_beta'] for run in runs] == [0.7, 0.3]


@pytest.mark.dft
def test_real_scfs_that_fail_first_are_saved_and_say_how(inputs):
    """Three steps are too few to judge: gentler mixing. Eight show the pace: more of them, from the density."""
    outputs, node = run_get_node(PwLabelWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    runs = sorted((child for child in node.called if isinstance(child, orm.CalcJobNode)), key=lambda child: child.pk)
    assert runs[0].exit_status == 410 and runs[-1].is_finished_ok
    assert runs[1].inputs.parameters['ELECTRONS']['startingpot'] == 'file'
    assert outputs['output_trajectory'].get_array('forces').shape == (1, 2, 3)
    assert node.base.extras.get('label_flags') == []
    folders = [Path(run.outputs.remote_folder.get_remote_path()) for run in runs]
    assert clean_frame(node, 'none') == 0 and all((folder / 'out').is_dir() for folder in folders)
    assert clean_frame(node, 'consumed') > 10_000 and clean_frame(node, 'consumed') == 0
    assert not any((folder / 'out').exists() for folder in folders) and (folders[0] / 'aiida.in').is_file()
    assert [run.base.caching.is_valid_cache for run in (runs[0], runs[-1])] == [False, True]
    messages = ' '.join(log.message for log in orm.Log.collection.get_logs_for(node))
    assert 'more steps would do: 8 -> 8 + 8 from the density' in messages
    inputs['pw']['parameters'] = orm.Dict({**inputs['pw']['parameters'].get_dict(), 'ELECTRONS': TOO_SHORT})
    again, node = run_get_node(PwLabelWorkChain, **inputs)
    messages = ' '.join(log.message for log in orm.Log.collection.get_logs_for(node))
    assert 'mixing_beta 0.7 -> 0.3, electron_maxstep 3 -> 4' in messages
    energies = [out['output_parameters']['energy'] for out in (outputs, again)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-6)
