"""The whole loop on silicon through a real daemon, with a worker killed on the way; facts go to a JSON file.

``test_loop.py`` runs it in a process and a profile of its own, as the tests' profile has no daemon: ``AIIDA_PATH`` is
the folder for everything, ``PYTHONPATH`` holds this folder and the silicon example.
"""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import silicon
from aiida import orm
from aiida.engine import submit
from aiida.engine.daemon.client import get_daemon_client

from aiida_pyacemaker.cli.daemon import start_daemon, stop_daemon
from aiida_pyacemaker.cli.setup import set_up_machine
from aiida_pyacemaker.workflows.protocol import merge

FOLDER = Path(os.environ['AIIDA_PATH'])
LIMIT_S = 1800.0
# the example's loop, ended soon after its first halt: at most three SCFs, one of them kept out
OVERRIDES = {
    'md': {'n_steps': 1500, 'temperature_end_K': 750.0},
    'strategy': {'budget': {'max_dft_calls': 3, 'n_held_out': 1}},
    'cutout': {'max_epicentres': 1},
    'finetune': {'n_surrogate_frames': 12, 'max_epochs': 20},
}


def wait_for(node, condition, what):
    """Wait until ``condition()`` or the end of ``node``; fail when the time limit passes."""
    end = time.monotonic() + LIMIT_S
    while not condition() and not node.is_terminated:
        if time.monotonic() > end:
            raise TimeoutError(f'{what} did not happen within {LIMIT_S} s')
        time.sleep(1.0)


def kill_worker():
    """Kill every worker of the daemon with SIGKILL; circus starts new ones."""
    workers = get_daemon_client().get_worker_info()['info']
    for pid in workers:
        os.kill(int(pid), signal.SIGKILL)
    return len(workers)


def running_calculation(root):
    """Return whether a CalcJob below ``root`` is with the scheduler."""
    return any(
        isinstance(child, orm.CalcJobNode)
        and child.get_state() is not None
        and child.get_state().value == 'withscheduler'
        for child in orm.load_node(root.pk).called_descendants
    )


def loop_facts(root):
    """Return what the root and its rounds say."""
    calculations = [node for node in root.called_descendants if isinstance(node, orm.CalcJobNode)]
    summary = root.outputs.summary.get_dict() if 'summary' in root.outputs else {}
    return {
        'pk': root.pk,
        'exit_status': root.exit_status,
        'exit_message': root.exit_message,
        'summary': summary,
        'outputs': sorted(root.outputs),
        'n_calculations': len(calculations),
        'n_from_cache': sum(node.base.caching.is_created_from_cache for node in calculations),
        'failed': [
            f'{node.process_label}<{node.pk}> {node.exit_status}' for node in calculations if not node.is_finished_ok
        ],
        'n_pw': sum(node.process_label == 'PwCalculation' for node in calculations),
        'duplicate_children': duplicate_children(root),
    }


def duplicate_children(root):
    """Return the link labels under which a process of the tree called more than one child."""
    doubled = []
    for node in [root, *root.called_descendants]:
        labels = [
            link.link_label for link in node.base.links.get_outgoing().all() if link.link_type.value.startswith('call_')
        ]
        ours = [label for label in labels if label != 'CALL' and not label.startswith('iteration_')]
        doubled += [f'{node.pk}:{label}' for label in set(ours) if ours.count(label) > 1]
    return doubled


def orphans(root):
    """Return the Data nodes of the tree that hold results, have no creator and are no input of the root."""
    given = {link.node.pk for link in root.base.links.get_incoming().all()}
    settings = (orm.BaseType, orm.Dict, orm.List, orm.AbstractCode, orm.KpointsData, orm.EnumData)
    found = set()
    for node in root.called_descendants:
        for link in node.base.links.get_incoming().all():
            data = link.node
            if (
                isinstance(data, orm.Data)
                and not isinstance(data, settings)
                and data.creator is None
                and data.pk not in given
            ):
                found.add(f'{type(data).__name__}<{data.pk}> {link.link_label} of {node.process_label}<{node.pk}>')
    return sorted(found)


def splices(root):
    """Return, for each segment of the main walker that goes on from another's end, whether it began on its last bits.

    A segment that goes back before an excursion begins at a restart file in the middle of another: no splice.
    """
    held_out = [link.node for link in root.base.links.get_outgoing().all() if link.link_label == 'held_out_walker']
    outside = {child.pk for walker in held_out for child in walker.called_descendants}
    segments = [node for node in root.called_descendants if node.process_label == 'LammpsCalculation']
    segments = sorted((node for node in segments if node.pk not in outside), key=lambda node: node.pk)
    ends = {node.outputs.restart.uuid: node for node in segments if 'restart' in node.outputs}
    rows = []
    for new in segments:
        old = ends.get(new.inputs.restart.uuid) if 'restart' in new.inputs else None
        if old is None:
            continue
        before, after = old.outputs.boundary, new.outputs.boundary
        rows.append(
            {
                name: bool(np.array_equal(before.get_array(f'last_{name}'), after.get_array(f'first_{name}')))
                for name in ('positions', 'velocities', 'cell', 'step')
            }
        )
    return rows, [node.pk for node in segments]


def replay(pk):
    """Run a segment again from its stored inputs; return whether every stored number of it is the same."""
    old = orm.load_node(pk)
    builder = old.get_builder_restart()
    builder.metadata.disable_cache = True
    new = submit(builder)
    wait_for(new, lambda: False, 'the end of the replayed segment')
    same = {}
    for name in old.outputs.boundary.get_arraynames():
        same[name] = bool(np.array_equal(old.outputs.boundary.get_array(name), new.outputs.boundary.get_array(name)))
    old_frames, new_frames = old.outputs.frames.get_frames(), new.outputs.frames.get_frames()
    same['frames'] = bool(np.array_equal(old_frames.positions, new_frames.positions))
    same['gamma'] = bool(np.array_equal(old_frames.gamma, new_frames.gamma, equal_nan=True))
    return same


def called(root, label):
    """Return the child of ``root`` under a link label."""
    return next(link.node for link in root.base.links.get_outgoing().all() if link.link_label == label)


def ignorance(root):
    """Return the first student's force error against the teacher, eV/Å: at the first epicentre, median of the pool."""
    from aiida_pyacemaker.science.student import load_student
    from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

    distilled = called(root, 'distillation_1').outputs
    cutout = called(called(root, 'round_01_learn'), 'cutout_walker_1')
    distilled.potential.write_to(FOLDER / 'student')
    student = load_student(FOLDER / 'student').calculator()
    teacher = teacher_calculator(load_teacher(root.inputs.teacher.write_to(FOLDER / 'teacher')))
    epicentre = cutout.outputs.report['epicentres'][0]
    halted = cutout.inputs.frames.get_frames().atoms(epicentre['frame'])
    difference = student.get_forces(halted) - teacher.get_forces(halted)
    pool = distilled.labelled.get_frames()
    errors = np.concatenate([student.get_forces(atoms) for atoms in pool.iter_atoms()]) - pool.forces
    return {
        'epicentre': float(np.linalg.norm(difference[epicentre['atom']])),
        'pool_median': float(np.median(np.linalg.norm(errors, axis=1))),
    }


def negative_control(root):
    """Run bulk silicon at 300 K for 2 ps with the first student; return how it ended."""
    from ase.build import bulk

    from aiida_pyacemaker.data.dataset import AtomicDatasetData
    from aiida_pyacemaker.workflows.explore import ExplorationWorkChain

    crystal = bulk('Si', 'diamond', a=5.43, cubic=True).repeat((2, 2, 2))
    md = {'n_steps': 2000, 'temperature_start_K': 300.0, 'temperature_end_K': 300.0}
    builder = ExplorationWorkChain.get_builder_from_protocol(
        root.inputs.lammps_code,
        protocol='fast',
        overrides={'md': md},
        potential=called(root, 'distillation_1').outputs.potential,
        structure=AtomicDatasetData.from_atoms(crystal),
        seed=orm.Int(7),
    )
    node = submit(builder)
    wait_for(node, lambda: False, 'the end of the negative control')
    return {'outcome': node.outputs.outcome.value, 'last_step': node.outputs.summary['last_step']}


def kill_between_submit_and_end():
    """Kill a worker inside a step after `submit`; return how many children there are in the end."""
    from ase.build import molecule
    from killing_workchain import KillingWorkChain

    from aiida_pyacemaker.data.dataset import AtomicDatasetData

    atoms = molecule('SiH4', vacuum=4.0)
    family = orm.load_group(silicon.FAMILY)
    marker = FOLDER / 'killed'
    pw = {'code': orm.load_code('pw@localhost'), 'pseudos': family.get_pseudos(elements=['Si', 'H'])}
    label = {'dataset': AtomicDatasetData.from_atoms(atoms), 'pw': pw, 'dft': orm.Dict({'ecutwfc': 12.0})}
    node = submit(KillingWorkChain, label=label, marker=orm.Str(str(marker)))
    wait_for(node, lambda: False, 'the end of the killed step')
    children = [child.process_label for child in node.called]
    n_pw = sum(child.process_label == 'PwCalculation' for child in node.called_descendants)
    return {'killed': marker.exists(), 'finished': node.is_finished_ok, 'children': children, 'n_pw': n_pw}


def turn_caching_on():
    """Let finished calculations be served again; before the daemon starts, as a worker reads this once."""
    from aiida.manage.configuration import get_config, get_profile

    config = get_config()
    config.set_option('caching.default_enabled', True, scope=get_profile().name)
    config.store()


def submit_again(overrides):
    """Submit the same loop again; return what ran."""
    again = submit(silicon.make_builder(overrides=overrides))
    wait_for(again, lambda: False, 'the end of the second submission')
    return loop_facts(again)


def gather(facts):
    """Run everything; ``facts`` fills up on the way, so that a failure leaves what was seen before it."""
    began = time.monotonic()
    overrides = merge(silicon.OVERRIDES, OVERRIDES)
    root = submit(silicon.make_builder(overrides=overrides))
    wait_for(root, lambda: running_calculation(root), 'a running calculation')
    facts['workers_killed'] = kill_worker()
    wait_for(root, lambda: False, 'the end of the loop')
    facts['loop'] = loop_facts(root)
    facts['wall_s'] = time.monotonic() - began
    facts['orphans'] = orphans(root)
    facts['splices'], segments = splices(root)
    facts['replay'] = replay(segments[0])
    facts['ignorance'] = ignorance(root)
    facts['negative_control'] = negative_control(root)
    facts['step_killed'] = kill_between_submit_and_end()
    facts['again'] = submit_again(overrides)


def main():
    facts = {}
    set_up_machine('loop', pseudos=silicon.PSEUDOS, family=silicon.FAMILY, cutoffs=silicon.CUTOFFS_RY)
    turn_caching_on()
    start_daemon(workers=2)
    try:
        gather(facts)
    finally:
        (FOLDER / 'facts.json').write_text(json.dumps(facts, indent=1))
        stop_daemon()


if __name__ == '__main__':
    main()
