"""Rounds of the root with stored nodes for its children: who moves, what is bought, when a cutout is changed.

The engines have tests of their own; here they would only cost time, and a potential that cannot learn an event, a
swap that heats and a walker that halts at a given step are what is to be prescribed.
"""

import io
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from ase.build import bulk

from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.ace import build_potential
from aiida_pyacemaker.science.ace.active_set import ActiveSet
from aiida_pyacemaker.science.config import CutoutConfig, FitConfig
from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.workflows.explore import ExplorationWorkChain
from aiida_pyacemaker.workflows.hierarchical import LearningWorkChain
from aiida_pyacemaker.workflows.lammps_base import LammpsBaseWorkChain
from aiida_pyacemaker.workflows.submission import drop_missing

GOAL = 1000
PERFECT = bulk('Si', 'diamond', a=5.43, cubic=True) * (2, 2, 2)
VACANCY = PERFECT.copy()
del VACANCY[0]


def finish(process, outputs, exit_code=None, caller=None):
    """Return a finished workflow with these outputs; called by ``caller`` as its MD, if given."""
    node = orm.WorkChainNode()
    node.set_process_label(process.__name__)
    node.set_process_type(process.build_process_type())
    if caller is not None:
        node.base.links.add_incoming(caller, LinkType.CALL_WORK, 'md')
    node.store()
    for name, value in outputs.items():
        value.store().base.links.add_incoming(node, LinkType.RETURN, name)
    node.set_process_state('finished')
    node.set_exit_status(0 if exit_code is None else exit_code.status)
    node.set_exit_message(None if exit_code is None else exit_code.message)
    return node


@cache
def empty_student():
    return build_potential(['Si'], FitConfig(number_of_functions_per_element=10, cutoff=4.0))


def check_ports(process, inputs):
    """The class must take these inputs: names, types and validators of all its ports."""
    ports = process.spec().inputs
    problem = ports.validate(ports.pre_process(drop_missing(inputs)))
    assert problem is None, f'{process.__name__}: {problem}'


class Script:
    """Plays the children of a root: ``stretches`` by walker in order, ``lessons`` one a round of learning.

    A stretch: ('goal' | 'stride' | 'halted' | 'overshoot', last step, structure); a lesson: sources of its metrics, or
    an exit code.
    """

    def __init__(self, root, folder, stretches, lessons=()):
        self.root, self.folder = root, folder
        self.stretches = {name: list(rows) for name, rows in stretches.items()}
        self.lessons, self.asked, self.whole, self.order = list(lessons), {}, {}, []
        self.n_potentials = 0

    def submit(self, process, label, inputs):
        check_ports(process, inputs)
        self.asked[label], self.whole[label] = SimpleNamespace(**inputs), inputs
        self.order.append(label)
        return self.explored(label) if process is ExplorationWorkChain else self.learnt(inputs)

    def explored(self, label):
        name = f'walker_{label.split("walker_")[1]}' if 'walker_' in label else 'walker_1'
        outcome, step, structure = self.stretches[name].pop(0)
        frames = Frames.from_atoms([structure], gamma=np.linspace(1.0, 6.0, len(structure)))
        summary = orm.Dict({
            'outcome': outcome, 'last_step': step, 'goal_step': GOAL, 'frame_steps': [step], 'learning_row': 0,
            'n_atoms': len(structure), 'restart_previous_step': step - 50,
            'resume_step': step - 30 if outcome == 'overshoot' else step,
            'swap': {'temperature_after_K': 900.0} if outcome == 'overshoot' else None,
        })  # fmt: skip
        outputs = {
            'summary': summary, 'outcome': orm.Str(outcome), 'frames': AtomicDatasetData.from_frames(frames),
            'restart': orm.SinglefileData(io.BytesIO(f'end of {label}'.encode())),
        }  # fmt: skip
        code = ExplorationWorkChain.exit_codes.ERROR_SWAP_REJECTED if outcome == 'overshoot' else None
        node = finish(ExplorationWorkChain, outputs, code)
        before = orm.SinglefileData(io.BytesIO(f'before the excursion of {label}'.encode()))
        finish(LammpsBaseWorkChain, {'summary': summary, 'restart_previous': before}, caller=node)
        return node

    def learnt(self, inputs):
        lesson = self.lessons.pop(0) if self.lessons else {}
        failed = not isinstance(lesson, dict)
        outputs = {f'reports__{name}': orm.Dict({'n_scf': 1, 'epicentres': []}) for name in inputs['frames']}
        if not failed:
            outputs |= {
                'potential': self.potential(), 'teacher': self.root.inputs.teacher,
                'metrics': orm.Dict({'sources': lesson}), 'blocks__dft': AtomicDatasetData.from_atoms(PERFECT),
            }
        return finish(LearningWorkChain, outputs, lesson if failed else None)

    def potential(self):
        """Return a potential unlike those before."""
        self.n_potentials += 1
        folder = self.folder / str(self.n_potentials)
        folder.mkdir()
        empty = empty_student()
        coefficients = np.full(sum(empty.n_functions), float(self.n_potentials))
        empty.with_coefficients(coefficients).write_yaml(folder / 'potential.yaml')
        ActiveSet(inverses={'Si': np.eye(empty.n_functions[0])}).write(folder / 'potential.asi')
        return AcePotentialData.from_folder(folder).store()

    def play(self):
        """Run the outline from the first round on; return the exit code it ends with."""
        root = self.root
        while root.should_explore():
            for steps in (('run_round', 'inspect_round'), ('run_learning', 'inspect_learning')):
                if steps[0] == 'run_learning' and not root.should_learn():
                    continue
                root.ctx.update(getattr(root, steps[0])())
                stop = getattr(root, steps[1])()
                if stop is not None:
                    return stop
        return root.results()


@pytest.fixture
def play(make_builder, tmp_path):
    """Return a function that plays a loop and returns (exit code, script); overrides are by port."""

    def run(stretches, lessons=(), strategy=None, md=None, cutout=None):
        overrides = {'md': {'n_steps': GOAL, **(md or {})}, 'strategy': strategy or {}, 'cutout': cutout or {}}
        builder = make_builder(overrides=overrides)
        builder.md_structure = AtomicDatasetData.from_atoms(*[PERFECT] * len(stretches))
        root = instantiate_process(get_manager().get_runner(), builder)
        root.setup()
        script = Script(root, tmp_path, stretches, lessons)
        root.submit_phase = script.submit
        root.ctx.potential, root.ctx.teacher = script.potential(), builder.teacher
        root.ctx.blocks, root.ctx.rows = {}, {}
        with root._process_scope():
            stop = script.play()
        return stop, script

    return run


def summary_of(script):
    """Return the summary that the root attached."""
    return script.root.outputs['summary'].get_dict()


def test_one_walker_learns_and_resumes_where_it_halted(play):
    """What a run without walkers, strides and decoupling has always been."""
    stop, script = play({'walker_1': [('halted', 100, PERFECT), ('goal', GOAL, PERFECT)]})
    assert stop is None
    assert script.order == ['round_01_explore', 'round_01_learn', 'round_02_explore']
    first, learn, second = (script.asked[label] for label in script.order)
    assert not hasattr(first, 'until_step') and not hasattr(first, 'restart')
    assert set(learn.frames) == {'walker_1'} and learn.steps['walker_1'].get_list() == [100]
    assert learn.cutout['dft']['max_calls'].value == 12 and not learn.escalated
    assert second.restart.get_content() == 'end of round_01_explore'
    assert second.soft_start.value and second.previous_potential == first.potential != second.potential
    summary = summary_of(script)
    expected = {'n_rounds': 2, 'n_halts': 1, 'outcomes': ['halted', 'goal'], 'n_dft_calls': 1}
    assert {name: summary[name] for name in expected} == expected
    assert (summary['md_steps_done'], summary['md_steps_goal']) == (GOAL, GOAL)


def test_an_event_that_cannot_be_learnt_is_cut_with_a_bigger_core_then_whole_then_given_up(play):
    """Livelock: the same environment halts MD at every restart."""
    halts = [('halted', 100 + 10 * count, VACANCY) for count in range(5)]
    stop, script = play({'walker_1': halts})
    assert (stop.status, 'Event 1' in stop.message, '5 times' in stop.message) == (603, True, True)
    asked = [script.asked[f'round_{number:02d}_learn'].escalated for number in range(1, 5)]
    assert asked[0] == asked[1] == {}
    bigger, whole = (CutoutConfig.model_validate(each['walker_1'].get_dict()) for each in asked[2:])
    usual = CutoutConfig.model_validate(script.root.inputs.cutout.get_dict())
    assert bigger.core_radius - usual.core_radius == pytest.approx(1.3 * 2.22)  # first neighbours are at 2.35 Å
    assert bigger.max_label_atoms > usual.max_label_atoms and bigger.policy == usual.policy
    assert (whole.policy, whole.core_radius) == ('whole_frame', usual.core_radius)
    summary = summary_of(script)
    assert [row['step'] for row in summary['escalations']] == [
        'a bigger core', 'a label of the whole frame', 'the end of the run'
    ]  # fmt: skip
    assert summary['events'][0]['count'] == 5 and 'potential' in script.root.outputs


def test_a_frame_too_big_to_be_labelled_whole_is_no_step_of_escalation(play):
    halts = [('halted', 100 + 10 * count, VACANCY) for count in range(4)]
    stop, script = play({'walker_1': halts}, cutout={'max_frame_atoms': 40})
    assert stop.status == 603
    assert [row['step'] for row in summary_of(script)['escalations']] == ['a bigger core', 'the end of the run']


def test_other_events_and_events_long_ago_are_not_counted_together(play):
    """Three halts each 300 steps apart, memory of 200; in between another environment halts, too."""
    halts = [('halted', 300, VACANCY), ('halted', 310, PERFECT), ('halted', 600, VACANCY), ('halted', 900, VACANCY)]
    stop, script = play({'walker_1': [*halts, ('goal', GOAL, PERFECT)]}, strategy={'event_memory_steps': 200})
    assert stop is None
    assert [event['count'] for event in summary_of(script)['events']] == [1, 1]
    assert summary_of(script)['escalations'] == []


def test_atoms_that_stay_above_call_after_their_update_count_as_another_halt(play):
    """The check of phase 4: the second halt of the event is the third time."""
    stubborn = {'dft_01': {'trained_atoms_above_call': {'n_atoms': 2}}}
    halts = [('halted', 100, VACANCY), ('halted', 110, VACANCY), ('goal', GOAL, PERFECT)]
    stop, script = play({'walker_1': halts}, lessons=[stubborn])
    assert stop is None
    assert [row['step'] for row in summary_of(script)['escalations']] == ['a bigger core']


def test_a_changed_cutout_without_a_label_brings_the_next_change(play):
    halts = [('halted', 100 + 10 * count, VACANCY) for count in range(3)]
    failed = LearningWorkChain.exit_codes.ERROR_SUB_PROCESS_FAILED_CUTOUT
    stop, script = play({'walker_1': [*halts, ('goal', GOAL, PERFECT)]}, lessons=[{}, {}, failed])
    assert stop is None
    assert script.order[-3:] == ['round_03_learn', 'round_04_learn', 'round_05_explore']
    assert script.asked['round_04_learn'].escalated['walker_1']['policy'] == 'whole_frame'


def test_a_cutout_without_a_label_brings_a_changed_one(play):
    """A rejected cutout or an SCF that never converged is no reason to end a run."""
    failed = LearningWorkChain.exit_codes.ERROR_SUB_PROCESS_FAILED_CUTOUT
    stop, script = play({'walker_1': [('halted', 100, VACANCY), ('goal', GOAL, PERFECT)]}, lessons=[failed, {}])
    assert stop is None
    assert script.order[1:] == ['round_01_learn', 'round_02_learn', 'round_03_explore']
    assert [row['step'] for row in summary_of(script)['escalations']] == ['a bigger core']


def test_no_label_whatever_is_cut_ends_the_run_with_the_potential(play):
    failed = LearningWorkChain.exit_codes.ERROR_SUB_PROCESS_FAILED_CUTOUT
    stop, script = play({'walker_1': [('halted', 100, VACANCY)]}, lessons=[failed] * 3)
    assert stop.status == 404 and 'potential' in script.root.outputs
    assert script.asked['round_03_learn'].escalated['walker_1']['policy'] == 'whole_frame'


def test_a_walker_that_is_stuck_is_seen_however_far_the_others_come(play):
    walks = {
        'walker_1': [('halted', 100 + 10 * count, VACANCY) for count in range(5)],
        'walker_2': [('stride', 200 * count, PERFECT) for count in range(1, 6)],
    }
    stop, script = play(walks, strategy={'stride_steps': 200, 'event_memory_steps': 150})
    assert (stop.status, 'Event 1' in stop.message) == (603, True)
    assert len(summary_of(script)['escalations']) == 3


def test_a_swap_that_heats_is_taken_back(play):
    """The walker goes on from before the swap with the old potential, and what halts it then is counted again."""
    halts = [('halted', 100, VACANCY), ('overshoot', 150, VACANCY), ('halted', 120, VACANCY), ('goal', GOAL, PERFECT)]
    stop, script = play({'walker_1': halts})
    assert stop is None
    first, rejected, again, last = (script.asked[f'round_{number:02d}_explore'] for number in (1, 2, 3, 4))
    assert rejected.potential != first.potential == again.potential
    assert again.restart.get_content() == 'end of round_02_explore' and not again.soft_start.value
    assert last.potential not in (first.potential, rejected.potential)
    assert script.asked['round_03_learn'].potential == first.potential
    summary = summary_of(script)
    assert summary['swaps'] == [{'round': 2, 'walker': 'walker_1', 'temperature_after_K': 900.0, 'rejected': True}]
    assert summary['events'][0]['count'] == 2


def test_two_walkers_on_one_event_buy_it_once(play):
    halted = ('halted', 100, VACANCY)
    walks = {name: [halted, ('goal', GOAL, PERFECT)] for name in ('walker_1', 'walker_2')}
    stop, script = play(walks)
    assert stop is None
    assert set(script.asked['round_01_learn'].frames) == {'walker_1'}
    assert summary_of(script)['passed_over'] == [{'round': 1, 'walker': 'walker_2', 'event': 1}]
    assert script.asked['round_02_explore_walker_2'].soft_start.value
    assert (summary_of(script)['n_halts'], summary_of(script)['md_steps_done']) == (2, 2 * GOAL)
    assert script.asked['round_01_explore_walker_1'].seed != script.asked['round_01_explore_walker_2'].seed


def test_other_halts_of_a_round_are_learnt_together(play):
    walks = {
        'walker_1': [('halted', 100, VACANCY), ('goal', GOAL, PERFECT)],
        'walker_2': [('halted', 70, PERFECT), ('goal', GOAL, PERFECT)],
    }
    stop, script = play(walks)
    assert stop is None and set(script.asked['round_01_learn'].frames) == {'walker_1', 'walker_2'}
    assert {'round_01_cutout_walker_1', 'round_01_cutout_walker_2'} <= set(script.root.ctx.records)
    assert summary_of(script)['n_dft_calls'] == 2


DECOUPLED = {'decoupled': True, 'stride_steps': 100}


def test_decoupled_walkers_move_beside_the_labels_and_take_up_the_potential_at_their_next_stretch(play):
    walks = {
        'walker_1': [('halted', 40, VACANCY), ('stride', 140, PERFECT), ('goal', GOAL, PERFECT)],
        'walker_2': [('stride', 100, PERFECT), ('stride', 200, PERFECT), ('goal', GOAL, PERFECT)],
    }
    stop, script = play(walks, strategy=DECOUPLED)
    assert stop is None
    assert script.order[2:4] == ['round_02_explore_walker_2', 'round_01_learn']  # side by side, walker 1 waits
    beside, after = (script.asked[f'round_0{number}_explore_walker_2'] for number in (2, 3))
    assert (beside.until_step.value, after.until_step.value) == (200, 300)
    assert not beside.soft_start.value and after.soft_start.value
    assert after.previous_potential == beside.potential != after.potential
    resumed = script.asked['round_03_explore_walker_1']
    assert resumed.until_step.value == 140 and resumed.potential == after.potential


def test_what_is_pending_or_came_meanwhile_is_not_bought_again(play):
    """Walker 2 meets walker 1's event with the old potential while it is being learnt; it goes on with the new one."""
    walks = {
        'walker_1': [('halted', 40, VACANCY), ('goal', GOAL, PERFECT)],
        'walker_2': [('stride', 100, PERFECT), ('halted', 150, VACANCY), ('goal', GOAL, PERFECT)],
    }
    stop, script = play(walks, strategy=DECOUPLED)
    assert stop is None
    assert [label for label in script.order if 'learn' in label] == ['round_01_learn']
    assert summary_of(script)['passed_over'] == [{'round': 2, 'walker': 'walker_2', 'event': 1}]
    resumed = script.asked['round_03_explore_walker_2']
    assert resumed.restart.get_content() == 'end of round_02_explore_walker_2' and resumed.soft_start.value


def test_a_halted_walker_may_go_back_and_meet_its_event_again_without_paying(play):
    """Rolled back before the excursion with another seed; its labels are pending when it halts on them again."""
    walks = {'walker_1': [('halted', 90, VACANCY), ('halted', 80, VACANCY), ('goal', GOAL, PERFECT)]}
    stop, script = play(walks, strategy={**DECOUPLED, 'halted_walker': 'roll_back'})
    assert stop is None
    assert script.order == ['round_01_explore', 'round_02_explore', 'round_01_learn', 'round_03_explore']
    first, back, last = (script.asked[f'round_0{number}_explore'] for number in (1, 2, 3))
    assert back.restart.get_content() == 'before the excursion of round_01_explore'
    assert back.soft_start.value and back.md['soft_start'] == 'langevin' and back.potential == first.potential
    assert back.seed != first.seed and back.until_step.value == 140
    assert last.restart.get_content() == 'end of round_02_explore' and last.previous_potential == first.potential


def test_an_oracle_is_asked_once_and_dft_when_the_event_comes_back(play):
    halts = [('halted', 100, VACANCY), ('halted', 110, VACANCY), ('goal', GOAL, PERFECT)]
    stop, script = play({'walker_1': halts}, strategy={'use_tiered_oracle': True})
    assert stop is None
    first, again = script.asked['round_01_learn'], script.asked['round_02_learn']
    assert first.cutout['oracle_threshold_eV_per_A'].value == 0.3  # that of protocol `fast`
    assert (first.to_dft.get_list(), again.to_dft.get_list()) == ([], ['walker_1'])


def test_what_the_root_asks_for_reaches_both_phases_of_its_lesson(play):
    """Two halts, one of them escalated: their cutouts share the SCFs, the fine-tuning learns from both."""
    walks = {
        'walker_1': [*[('halted', 100 + 10 * count, VACANCY) for count in range(3)], ('goal', GOAL, PERFECT)],
        'walker_2': [('stride', 150, PERFECT), ('stride', 300, PERFECT), ('halted', 330, PERFECT),
                     ('goal', GOAL, PERFECT)],
    }  # fmt: skip
    stop, script = play(walks, strategy={'use_tiered_oracle': True, 'budget': {'max_dft_calls': 7}})
    assert stop is None
    inputs = script.whole['round_03_learn']
    inputs['finetune']['blocks'] = {}  # those of the script are stand-ins
    lesson = instantiate_process(get_manager().get_runner(), LearningWorkChain, **drop_missing(inputs))
    asked = {}

    def submit(label, process, given):
        check_ports(process, given)
        asked[label] = given
        frames = labelled_by('dft' if label.endswith('1') else 'teacher')
        outputs = {'report': orm.Dict({'n_scf': 1}), 'training_dataset': frames, 'label_dataset': frames}
        return finish(process, {} if label == 'finetune' else outputs)

    lesson.submit_once = submit
    with lesson._process_scope():
        lesson.ctx.update(lesson.run_cutouts())
        assert lesson.inspect_cutouts() is None
        lesson.run_finetuning()
    first, second = asked['cutout_walker_1'], asked['cutout_walker_2']
    assert [each['dft']['max_calls'].value for each in (first, second)] == [3, 2]  # 7, of which 2 are spent
    assert first['cutout']['core_radius'] > second['cutout']['core_radius']
    assert 'oracle_threshold_eV_per_A' in second and 'oracle_threshold_eV_per_A' not in first
    assert first['seed'] != second['seed']
    taught = asked['finetune']
    assert set(taught['training_datasets']) == {'dft_03_walker_1', 'halt_03_walker_2'}
    assert set(taught['label_datasets']) == {'dft_03_walker_1'}  # the teacher does not learn from itself
    assert len(taught['halted']) == 2


def labelled_by(kind):
    """A crystal whose label is of this kind of theory."""
    atoms = [PERFECT]
    forces = np.zeros((len(PERFECT), 3))
    return AtomicDatasetData.from_frames(
        Frames.from_atoms(atoms, forces=forces, theory_id=np.array([0]), theories=({'kind': kind},))
    ).store()


@pytest.mark.parametrize('strategy', [{}, DECOUPLED])
def test_budgets_are_over_all_walkers(play, strategy):
    """One SCF is paid; the next halt, of another walker, ends the run."""
    walks = {
        'walker_1': [('halted', 40, VACANCY), ('stride', 150, PERFECT), ('goal', GOAL, PERFECT)],
        'walker_2': [('stride', 100, PERFECT), ('halted', 150, PERFECT)],
    }
    stop, script = play(walks, strategy={**strategy, 'budget': {'max_dft_calls': 1}})
    assert (stop.status, 'DFT calls' in stop.message) == (602, True)
    assert summary_of(script)['n_dft_calls'] == 1


def test_walkers_are_made_as_the_settings_say(make_builder):
    """Two hot ones from the second frame, each with its own goal; what does not exist is refused by name."""
    builder = make_builder(
        overrides={'strategy': {'walkers': [{}, {'structure': 1, 'count': 2, 'md': {'n_steps': 7}}]}}
    )
    builder.md_structure = AtomicDatasetData.from_atoms(PERFECT, VACANCY)
    root = instantiate_process(get_manager().get_runner(), builder)
    root.setup()
    walkers = root.ctx.walkers
    assert [walkers[f'walker_{number}']['structure'] for number in (1, 2, 3)] == [0, 1, 1]
    assert [walkers[f'walker_{number}']['goal'] for number in (1, 2, 3)] == [2000, 7, 7]
    root.ctx.round, root.ctx.potential = 1, None
    asked = root.stretch_inputs('walker_3', walkers['walker_3'])
    assert len(asked['structure']) == 1 and len(asked['structure'].get_frames().atoms(0)) == len(VACANCY)
    assert asked['md']['n_steps'] == 7
    wrong = {
        'structure 2, allowed: 0 to 1': {'walkers': [{'structure': 2}]},
        'md.n_stepz': {'walkers': [{'md': {'n_stepz': 7}}]},
        'dump_every = 15': {'walkers': [{'md': {'dump_every': 15}}]},
        'roll_back': {'halted_walker': 'roll_back'},
        'stride_steps': {'stride_steps': 0},
    }
    for words, strategy in wrong.items():
        with pytest.raises(ValueError, match=words):
            builder = make_builder(overrides={'strategy': strategy})
            builder.md_structure = AtomicDatasetData.from_atoms(PERFECT, VACANCY)
            instantiate_process(get_manager().get_runner(), builder)
