"""The whole method: distil, validate, then explore, cut out, fine-tune and resume until the MD reaches its goal."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, if_, while_

from ...data.ace_potential import AcePotentialData
from ...data.dataset import AtomicDatasetData
from ...data.teacher import TeacherModelData
from ..cutout import CutoutWorkChain
from ..dft.ports import add_pw_ports
from ..distillation import DistillationWorkChain
from ..explore import ExplorationWorkChain
from ..finetune import FinetuneWorkChain
from .inputs import SETTINGS, validate_inputs
from .phases import PhaseInputs
from .summary import summarise_loop
from ..ports import add_shared_ports
from ..submission import call_once
from ..trainers import add_block_outputs, add_trainer_ports, read_blocks
from ..validation import ValidationWorkChain


class HierarchicalDistillationWorkChain(PhaseInputs, WorkChain):
    """Distil a teacher into a student, validate it, and let MD show where DFT has to teach both."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_shared_ports(spec, *SETTINGS)
        add_trainer_ports(spec)
        spec.input('lammps_code', valid_type=orm.AbstractCode, help='`lmp` with ML-PACE, or `pyacemaker-lmp`.')
        spec.input('lammps_options', valid_type=dict, non_db=True, default=dict,
                   help='Scheduler options of the MD, over those of `options`: GPUs, ranks, a queue.')  # fmt: skip
        add_pw_ports(spec)
        spec.input('teacher', valid_type=TeacherModelData, help='The foundation model, or a committee of them.')
        spec.input('elements', valid_type=orm.List, help='Chemical symbols of the system.')
        spec.input('prototypes', valid_type=AtomicDatasetData, help='Crystals that the pools and the gates start from.')
        spec.input('md_structure', valid_type=AtomicDatasetData, help='One frame: where the MD starts.')
        spec.input('held_out_structure', valid_type=AtomicDatasetData, required=False,
                   help='One frame for the walker whose cutouts are kept out; default: `md_structure`.')  # fmt: skip
        spec.inputs.validator = validate_inputs
        spec.outline(
            cls.setup,
            while_(cls.should_distil)(
                cls.run_distillation,
                cls.inspect_distillation,
                if_(cls.should_validate)(
                    cls.run_validation,
                    cls.inspect_validation,
                ),
            ),
            if_(cls.should_keep_out)(
                cls.run_held_out_walker,
                cls.inspect_held_out_walker,
                cls.run_held_out_cutout,
                cls.inspect_held_out_cutout,
            ),
            while_(cls.should_explore)(
                cls.run_exploration,
                cls.inspect_exploration,
                if_(cls.should_learn)(
                    cls.run_cutout,
                    cls.inspect_cutout,
                    cls.run_finetuning,
                    cls.inspect_finetuning,
                ),
            ),
            cls.results,
        )
        spec.output('potential', valid_type=AcePotentialData, help='The student after the last update.')
        spec.output('teacher', valid_type=TeacherModelData, help='The teacher after the last update.')
        add_block_outputs(spec)
        spec.output('held_out_dataset', valid_type=AtomicDatasetData, required=False,
                    help='Kept-out cutouts with DFT forces, never trained on.')  # fmt: skip
        spec.output('summary', valid_type=orm.Dict, required=False, help='Rounds, halts, DFT calls and steps.')
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_DISTILLATION',
                       message='Phase 1 failed; the best potential of an earlier attempt is attached.')  # fmt: skip
        spec.exit_code(
            402, 'ERROR_SUB_PROCESS_FAILED_VALIDATION', message='Phase 2 failed before its gates were judged.'
        )
        spec.exit_code(
            403, 'ERROR_SUB_PROCESS_FAILED_EXPLORATION', message='The MD failed; the best potential is attached.'
        )
        spec.exit_code(
            404, 'ERROR_SUB_PROCESS_FAILED_CUTOUT', message='Phase 3 gave no label; the best potential is attached.'
        )
        spec.exit_code(
            405, 'ERROR_SUB_PROCESS_FAILED_FINETUNE', message='Phase 4 failed; the best potential is attached.'
        )
        spec.exit_code(
            601, 'GATE_FAILED', message='A validation gate failed in every attempt; the best potential is attached.'
        )
        spec.exit_code(
            602, 'BUDGET_SPENT', message='{what} is spent before the MD goal; the best potential is attached.'
        )

    @classmethod
    def get_builder_from_protocol(cls, codes: dict[str, orm.AbstractCode], **inputs: Any) -> Any:
        """Return a builder, see :func:`.inputs.fill_builder`."""
        from .inputs import fill_builder

        return fill_builder(cls.get_builder(), codes, **inputs)

    def setup(self) -> None:
        """Read the settings; nothing is known yet."""
        self.ctx.attempt = 0
        self.ctx.round = 0
        self.ctx.gates_passed = False
        self.ctx.outcome = 'start'
        self.ctx.restart = None
        self.ctx.spent = 0
        self.ctx.label_datasets = {}
        self.ctx.records = {}
        self.ctx.best_failures = None

    # phases 1 and 2 ------------------------------------------------------------------------------------------------

    def should_distil(self) -> bool:
        """Return whether a potential is still to be made that passes its gates."""
        tries = self.read_settings('validation').max_attempts
        return not self.ctx.gates_passed and self.ctx.attempt < tries

    def run_distillation(self) -> Any:
        """Run phase 1, with a denser pool on every further attempt."""
        self.ctx.attempt += 1
        self.report(f'phase 1, attempt {self.ctx.attempt}: distilling')
        return self._submit(DistillationWorkChain, f'distillation_{self.ctx.attempt}', self.distillation_inputs())

    def inspect_distillation(self) -> Any:
        """Take over the potential; labels that do not span the basis are a reason for a denser pool, too."""
        child = self.ctx.child
        self.ctx.candidate = child if child.is_finished_ok else None
        too_few = child.exit_status == DistillationWorkChain.exit_codes.ERROR_TOO_FEW_ENVIRONMENTS.status
        if too_few and self.should_distil():
            self.report(f'{child.exit_message} A denser pool is next')
            return None
        if not child.is_finished_ok:
            return self._give_up(self.exit_codes.ERROR_SUB_PROCESS_FAILED_DISTILLATION)
        return None

    def should_validate(self) -> bool:
        """Return whether the last attempt gave a potential."""
        return self.ctx.candidate is not None

    def run_validation(self) -> Any:
        """Run phase 2 on the newest potential."""
        self.report('phase 2: holding the potential against its gates')
        return self._submit(ValidationWorkChain, f'validation_{self.ctx.attempt}', self.validation_inputs())

    def inspect_validation(self) -> Any:
        """Keep the best potential so far; go on when every gate passed."""
        child = self.ctx.child
        if 'report' not in child.outputs:
            if 'potential' not in self.ctx:  # one that was judged is better than one that was not
                self._adopt(self.ctx.candidate)
            return self._give_up(self.exit_codes.ERROR_SUB_PROCESS_FAILED_VALIDATION)
        failed = [gate['name'] for gate in child.outputs.report['gates'] if not gate['passed']]
        if self.ctx.best_failures is None or len(failed) < self.ctx.best_failures:
            self.ctx.best_failures = len(failed)
            self._adopt(self.ctx.candidate)
        self.ctx.gates_passed = child.is_finished_ok
        if child.is_finished_ok:
            self.report('every gate passed')
            return None
        self.report(f'gates failed: {", ".join(failed)}; a denser pool is next, if attempts remain')
        if not self.should_distil():
            self._attach()
            return self.exit_codes.GATE_FAILED
        return None

    def _adopt(self, distillation: orm.WorkChainNode) -> None:
        """Make this potential the current one."""
        self.ctx.potential = distillation.outputs.potential
        self.ctx.blocks, self.ctx.rows = read_blocks(distillation.outputs)
        self.ctx.teacher = self.inputs.teacher

    # kept-out cutouts ----------------------------------------------------------------------------------------------

    def should_keep_out(self) -> bool:
        """Return whether cutouts are kept out of training to judge it."""
        return self.read_budget().n_held_out > 0

    def run_held_out_walker(self) -> Any:
        """Run a walker of its own with the first potential until it halts."""
        inputs = self.exploration_inputs('held_out_walker')
        inputs['structure'] = self.inputs.get('held_out_structure', self.inputs.md_structure)
        self.report('a walker of its own looks for frames that are kept out of training')
        return self._submit(ExplorationWorkChain, 'held_out_walker', inputs)

    def inspect_held_out_walker(self) -> Any:
        """Take the frames at the walker's end; without a halt they are frames that the student knows."""
        child = self.ctx.child
        if not child.is_finished_ok:
            return self._stop_at_md()
        self.ctx.explored = child
        outcome = child.outputs.outcome.value
        if outcome == 'goal':
            self.report('the walker reached its goal without a halt: what is kept out are frames the student knows')
        else:
            self.report(f'the walker ended at step {child.outputs.summary["last_step"]}: {outcome}')
        return None

    def run_held_out_cutout(self) -> Any:
        """Cut out and label the kept-out frames."""
        count = self.read_budget().n_held_out
        self.report(f'phase 3 on the kept-out walker: at most {count} cutouts for DFT')
        return self._submit(CutoutWorkChain, 'held_out_cutout', self.cutout_inputs('held_out_cutout', count))

    def inspect_held_out_cutout(self) -> Any:
        """Attach the kept-out labels."""
        stop = self._book_cutout('held_out_cutout')
        if stop:
            return stop
        self.out('held_out_dataset', self.ctx.child.outputs.training_dataset)
        return None

    # phases 3 and 4 ------------------------------------------------------------------------------------------------

    def should_explore(self) -> bool:
        """Return whether the MD has not reached its goal."""
        return bool(self.ctx.outcome != 'goal')

    def run_exploration(self) -> Any:
        """Start the MD, or resume it at the step where it halted."""
        self.ctx.round += 1
        inputs = self.exploration_inputs(f'explore_{self.ctx.round}')
        if self.ctx.restart is None:
            inputs['structure'] = self.inputs.md_structure
        else:
            inputs |= {'restart': self.ctx.restart, 'soft_start': orm.Bool(True)}
        self.report(f'round {self.ctx.round}: MD {"starts" if self.ctx.restart is None else "resumes"}')
        return self._submit(ExplorationWorkChain, self._label('explore'), inputs)

    def inspect_exploration(self) -> Any:
        """Note how the MD ended and where it resumes."""
        child = self.ctx.child
        if 'summary' in child.outputs:
            self.ctx.records[self._label('explore')] = child.outputs.summary
        if not child.is_finished_ok:
            return self._stop_at_md()
        self.ctx.explored = child
        self.ctx.outcome = child.outputs.outcome.value
        self.ctx.restart = child.outputs.restart
        self.report(
            f'round {self.ctx.round}: MD ended at step {child.outputs.summary["last_step"]}: {self.ctx.outcome}'
        )
        if self.ctx.outcome != 'goal' and self._spent_budget():
            self._attach()
            return self.exit_codes.BUDGET_SPENT.format(what=self._spent_budget())
        return None

    def should_learn(self) -> bool:
        """Return whether the MD showed something to learn."""
        return bool(self.ctx.outcome != 'goal')

    def run_cutout(self) -> Any:
        """Run phase 3 on the frames around the halt."""
        count = self.read_settings('cutout').max_epicentres
        self.report(f'phase 3: at most {count} cutouts for DFT; {self.ctx.spent} SCFs spent so far')
        return self._submit(CutoutWorkChain, self._label('cutout'), self.cutout_inputs(self._label('cutout'), count))

    def inspect_cutout(self) -> Any:
        """Count what was paid."""
        stop = self._book_cutout(self._label('cutout'))
        if stop:
            return stop
        self.ctx.label_datasets[f'round_{self.ctx.round:02d}'] = self.ctx.child.outputs.label_dataset
        self.ctx.training_dataset = self.ctx.child.outputs.training_dataset
        return None

    def run_finetuning(self) -> Any:
        """Run phase 4: teacher, surrogates, incremental student."""
        self.report(f'round {self.ctx.round}: the teacher and the student learn from {self.ctx.spent} SCFs in all')
        return self._submit(FinetuneWorkChain, self._label('finetune'), self.finetune_inputs())

    def inspect_finetuning(self) -> Any:
        """Take over teacher, student and blocks."""
        child = self.ctx.child
        if not child.is_finished_ok:
            return self._give_up(self.exit_codes.ERROR_SUB_PROCESS_FAILED_FINETUNE)
        self.ctx.teacher = child.outputs.teacher
        self.ctx.potential = child.outputs.potential
        self.ctx.blocks, self.ctx.rows = read_blocks(child.outputs)
        self.ctx.records[self._label('finetune')] = child.outputs.metrics
        return None

    def results(self) -> None:
        """Attach the outputs of a run that reached its goal."""
        self.report(f'MD reached its goal after {self.ctx.round} rounds and {self.ctx.spent} SCFs')
        self._attach()

    # shared --------------------------------------------------------------------------------------------------------

    def _spent_budget(self) -> str | None:
        budget = self.read_budget()
        if self.ctx.spent >= budget.max_dft_calls:
            return f'the budget of {budget.max_dft_calls} DFT calls'
        if self.ctx.round > budget.max_rounds:
            return f'the budget of {budget.max_rounds} rounds'
        return None

    def _label(self, step: str) -> str:
        return f'round_{self.ctx.round:02d}_{step}'

    def _submit(self, process: type[WorkChain], label: str, inputs: dict[str, Any]) -> Any:
        return ToContext(child=self.submit_once(label, process, {'options': self.inputs.options, **inputs}))

    def _stop_at_md(self) -> Any:
        """Return the exit code of an MD that neither halted nor reached its goal."""
        if self.ctx.child.exit_status == ExplorationWorkChain.exit_codes.SEGMENTS_SPENT.status:
            what = f'the budget of {self.read_budget().max_segments} MD segments'
            return self._give_up(self.exit_codes.BUDGET_SPENT.format(what=what))
        return self._give_up(self.exit_codes.ERROR_SUB_PROCESS_FAILED_EXPLORATION)

    def _book_cutout(self, label: str) -> Any:
        """Count what was paid, labels or not; return an exit code when there is no label."""
        outputs = self.ctx.child.outputs
        if 'report' in outputs:
            self.ctx.spent += outputs.report['n_scf']
            self.ctx.records[label] = outputs.report
        if 'training_dataset' in outputs:
            return None
        what = self._spent_budget()
        if what:
            return self._give_up(self.exit_codes.BUDGET_SPENT.format(what=what))
        return self._give_up(self.exit_codes.ERROR_SUB_PROCESS_FAILED_CUTOUT)

    def _give_up(self, code: Any) -> Any:
        """Say what the child said, attach the best there is, return ``code``."""
        child = self.ctx.child
        self.report(f'{child.process_label}<{child.pk}> failed: {child.exit_message or child.process_state.value}')
        self._attach()
        return code

    def _attach(self) -> None:
        """Attach the best there is, so that a run that stops early is usable."""
        if 'potential' not in self.ctx:
            return
        self.out('potential', self.ctx.potential)
        self.out('teacher', self.ctx.teacher)
        self.out('blocks', self.ctx.blocks)
        self.out('rows', self.ctx.rows)
        self.out('summary', call_once(self, 'summarise', summarise_loop, **self.ctx.records))
