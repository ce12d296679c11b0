"""The ladder: rung by rung on a built process, and once through a real SCF that fails first."""

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory
from aiida_pseudo.data.pseudo.upf import UpfData
from ase.build import bulk

from aiida_pyacemaker.workflows.dft.ladder import LADDER, apply_rung
from aiida_pyacemaker.workflows.dft.pw_label import PwLabelWorkChain

PwCalculation = CalculationFactory('quantumespresso.pw')


@pytest.fixture
def inputs(pw_code, serial_options):
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([1, 1, 1])
    parameters = {
        'CONTROL': {'calculation': 'scf', 'tprnfor': True, 'disk_io': 'low'},
        'SYSTEM': {'ecutwfc': 8.0, 'occupations': 'smearing', 'smearing': 'mv', 'degauss': 0.015},
        'ELECTRONS': {'conv_thr': 1e-10, 'mixing_beta': 0.7, 'electron_maxstep': 6},
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


def calculation(process, exit_status):
    """A finished ``pw.x`` run of ``process`` with a remote folder, as the engine would leave it."""
    computer = process.inputs.pw.code.computer
    node = orm.CalcJobNode(computer=computer, process_type='aiida.calculations:quantumespresso.pw')
    node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
    node.set_exit_status(exit_status)
    node.set_process_state('finished')
    node.store()
    remote = orm.RemoteData(computer=computer, remote_path='/tmp')
    remote.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='remote_folder')
    remote.store()
    return node


def test_every_rung_is_climbed_once_and_then_the_frame_is_given_up(process):
    seen = []
    for _ in LADDER:
        report = process.climb_ladder(calculation(process, 410))
        assert report.do_break and report.exit_code.status == 0
        electrons, system = (process.ctx.inputs.parameters[name] for name in ('ELECTRONS', 'SYSTEM'))
        seen.append(
            (
                electrons['mixing_beta'],
                electrons.get('mixing_mode'),
                system['degauss'],
                electrons.get('diagonalization'),
            )
        )
        assert process.ctx.inputs.parameters['CONTROL']['restart_mode'] == 'from_scratch'
    assert seen == [
        (0.3, None, 0.015, None),
        (0.1, None, 0.015, None),
        (0.3, 'local-TF', 0.015, None),
        (0.3, 'local-TF', 0.035, None),
        (0.3, 'local-TF', 0.015, 'cg'),
    ]
    given_up = process.climb_ladder(calculation(process, 410))
    assert given_up.exit_code.status == 420 and 'david -> cg' in given_up.exit_code.message


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


def test_a_rung_that_changes_nothing_is_skipped():
    parameters = {'ELECTRONS': {'mixing_beta': 0.2, 'electron_maxstep': 80}, 'SYSTEM': {}}
    assert apply_rung(parameters, LADDER[0]) == []
    assert apply_rung(parameters, LADDER[1]) == ['mixing_beta 0.2 -> 0.1', 'electron_maxstep 80 -> 120']


def test_our_handlers_come_before_the_stock_ones():
    priorities = {handler.__name__: handler.priority for handler in PwLabelWorkChain.get_process_handlers()}
    ours = {priorities.pop('climb_ladder'), priorities.pop('converge_at_asked_degauss')}
    assert min(ours) > max(priorities.values())


@pytest.mark.dft
def test_a_real_scf_that_fails_first_is_saved_and_says_how(inputs):
    outputs, node = run_get_node(PwLabelWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    runs = sorted((child for child in node.called if isinstance(child, orm.CalcJobNode)), key=lambda child: child.pk)
    assert runs[0].exit_status == 410 and runs[-1].is_finished_ok
    assert outputs['output_trajectory'].get_array('forces').shape == (1, 2, 3)
    messages = ' '.join(log.message for log in orm.Log.collection.get_logs_for(node))
    assert 'mixing_beta 0.7 -> 0.3' in messages and 'electron_maxstep 6 -> 9' in messages
