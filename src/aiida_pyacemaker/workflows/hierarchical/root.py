"""The whole method: distil, validate, then explore, cut out, fine-tune and resume until the MD reaches its goal."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, if_, while_

from ...data.ace_potential import AcePotentialData
from ...data.dataset import AtomicDatasetData
from ...data.teacher import TeacherModelData
from ...science.ace.calibration import calibrated_thresholds
from ..cutout import CutoutWorkChain
from ..distillation import DistillationWorkChain
from ..explore import ExplorationWorkChain
from ..submission import call_once
from ..trainers import add_block_outputs, read_blocks
from ..validation import ValidationWorkChain
from .inputs import add_root_ports, count_starts
from .phases import calibrate_thresholds, read_calibration
from .rounds import RoundSteps
from .walkers import make_walkers


class HierarchicalDistillationWorkChain(RoundSteps, WorkChain):
    """Distil a teacher into a student, validate it, and let MD show where DFT has to teach both."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_root_ports(spec)
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
                cls.run_round,
                cls.inspect_round,
                if_(cls.should_learn)(
                    cls.run_learning,
                    cls.inspect_learning,
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
        spec.exit_code(604, 'TARGET_UNREACHABLE',
                       message='Thresholds cannot be calibrated, the potential is attached: {message}')  # fmt: skip
        spec.exit_code(
            603, 'EVENT_NOT_LEARNT',
            message='Event {event} (first at step {step}, atom {atom}) halted MD {count} times, and neither a bigger '
            'core nor the whole frame is left to be tried; the best potential is attached.',
        )  # fmt: skip

    @classmethod
    def get_builder_from_protocol(cls, codes: dict[str, orm.AbstractCode], **inputs: Any) -> Any:
        """Return a builder, see :func:`.inputs.fill_builder`."""
        from .inputs import fill_builder

        return fill_builder(cls.get_builder(), codes, **inputs)

    def setup(self) -> None:
        """Read the settings; nothing is known yet."""
        self.ctx.attempt = self.ctx.round = self.ctx.generation = 0
        self.ctx.lessons = self.ctx.spent = 0
        self.ctx.gates_passed = False
        self.ctx.best_failures = self.ctx.previous = None
        self.ctx.label_datasets, self.ctx.records = {}, {}
        for name in ('queue', 'batch', 'moving', 'events', 'escalations', 'passed_over', 'swaps'):
            self.ctx[name] = []
        strategy, md = self.read_settings('strategy'), self.inputs.md.get_dict()
        self.ctx.walkers = make_walkers(strategy, count_starts(self.inputs), md)
        if 'potential' in self.inputs:
            self.report(f'phases 1 and 2 are left out: ACE<{self.inputs.potential.pk}> is given')
            self._adopt(self.inputs)

    # phases 1 and 2 ------------------------------------------------------------------------------------------------

    def should_distil(self) -> bool:
        """Return whether a potential is still to be made that passes its gates."""
        tries = self.read_settings('validation').max_attempts
        given = 'potential' in self.inputs
        return not given and not self.ctx.gates_passed and self.ctx.attempt < tries

    def run_distillation(self) -> Any:
        """Run phase 1, with a denser pool on every further attempt."""
        self.ctx.attempt += 1
        self.report(f'phase 1, attempt {self.ctx.attempt}: distilling')
        label, inputs = f'distillation_{self.ctx.attempt}', self.distillation_inputs()
        return ToContext(child=self.submit_phase(DistillationWorkChain, label, inputs))

    def inspect_distillation(self) -> Any:
        """Take over the potential; labels that do not span the basis are a reason for a denser pool, too."""
        child = self.ctx.child
        self.ctx.candidate = child if child.is_finished_ok else None
        too_few = child.exit_status == DistillationWorkChain.exit_codes.ERROR_TOO_FEW_ENVIRONMENTS.status
        if too_few and self.should_distil():
            self.report(f'{child.exit_message} A denser pool is next')
            return None
        if not child.is_finished_ok:
            return self.give_up(child, self.exit_codes.ERROR_SUB_PROCESS_FAILED_DISTILLATION)
        return None

    def should_validate(self) -> bool:
        """Return whether the last attempt gave a potential."""
        return self.ctx.candidate is not None

    def run_validation(self) -> Any:
        """Run phase 2 on the newest potential."""
        self.report('phase 2: holding the potential against its gates')
        label, inputs = f'validation_{self.ctx.attempt}', self.validation_inputs()
        return ToContext(child=self.submit_phase(ValidationWorkChain, label, inputs))

    def inspect_validation(self) -> Any:
        """Keep the best potential so far; go on when every gate passed."""
        child = self.ctx.child
        if 'report' not in child.outputs:
            if 'potential' not in self.ctx:  # one that was judged is better than one that was not
                self._adopt(self.ctx.candidate.outputs)
            return self.give_up(child, self.exit_codes.ERROR_SUB_PROCESS_FAILED_VALIDATION)
        failed = [gate['name'] for gate in child.outputs.report['gates'] if not gate['passed']]
        if self.ctx.best_failures is None or len(failed) < self.ctx.best_failures:
            self.ctx.best_failures = len(failed)
            self._adopt(self.ctx.candidate.outputs)
        self.ctx.gates_passed = child.is_finished_ok
        if child.is_finished_ok:
            self.report('every gate passed')
            return self._calibrate(self.ctx.candidate.outputs.metrics)
        self.report(f'gates failed: {", ".join(failed)}; a denser pool is next, if attempts remain')
        if not self.should_distil():
            self.attach()
            return self.exit_codes.GATE_FAILED
        return None

    def _calibrate(self, metrics: orm.Dict) -> Any:
        """Turn a target for the force error into thresholds, where one is given; refuse one that no γ keeps."""
        rule = self.read_settings('strategy').thresholds
        if rule.target_force_error is None:
            return None
        try:
            found = calibrated_thresholds(rule, read_calibration(metrics))
        except ValueError as error:
            self.attach()
            return self.exit_codes.TARGET_UNREACHABLE.format(message=str(error))
        given = orm.Dict(rule.model_dump())
        self.ctx.thresholds = call_once(self, 'calibrate_thresholds', calibrate_thresholds, given, metrics)
        self.report(
            f'{rule.target_force_error} eV/Å held for {100 * rule.coverage:g} % of the held-out forces up to γ = '
            f'{found.threshold_call_dft:.2f}: the call threshold (what MD meets may differ, no guarantee)'
        )
        return None

    def _adopt(self, made: Any) -> None:
        """Make this potential, with what it was fitted to, the current one."""
        self.ctx.potential = made.potential
        self.ctx.blocks, self.ctx.rows = read_blocks(made)
        self.ctx.teacher = self.inputs.teacher
        self.ctx.ground_state = made.ground_state if 'ground_state' in made else None

    # kept-out cutouts ----------------------------------------------------------------------------------------------

    def should_keep_out(self) -> bool:
        """Return whether cutouts are kept out of training to judge it."""
        return self.read_budget().n_held_out > 0

    def run_held_out_walker(self) -> Any:
        """Run a walker of its own with the first potential until it halts."""
        inputs = self.exploration_inputs('held_out_walker')
        inputs['structure'] = self.inputs.get('held_out_structure') or self.first_structure(0)
        self.report('a walker of its own looks for frames that are kept out of training')
        return ToContext(child=self.submit_phase(ExplorationWorkChain, 'held_out_walker', inputs))

    def inspect_held_out_walker(self) -> Any:
        """Take the frames at the walker's end; without a halt they are frames that the student knows."""
        child = self.ctx.child
        if not child.is_finished_ok:
            return self.stop_at_md(child)
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
        inputs = self.cutout_inputs(self.ctx.child, 'held_out_cutout', count)
        return ToContext(child=self.submit_phase(CutoutWorkChain, 'held_out_cutout', inputs))

    def inspect_held_out_cutout(self) -> Any:
        """Count what was paid, attach the kept-out labels."""
        child = self.ctx.child
        if 'report' in child.outputs:
            self.ctx.spent += child.outputs.report['n_scf']
            self.ctx.records['held_out_cutout'] = child.outputs.report
        if 'training_dataset' not in child.outputs:
            return self.stop_without_label(child)
        self.out('held_out_dataset', child.outputs.training_dataset)
        return None

    # phases 3 and 4: see RoundSteps ----------------------------------------------------------------------------------

    def results(self) -> None:
        """Attach the outputs of a run that reached its goal."""
        self.report(f'MD reached its goal after {self.ctx.round} rounds and {self.ctx.spent} SCFs')
        self.attach()
