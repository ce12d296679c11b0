"""MD in segments until its goal or a halt: what was killed is replayed, wall limits and explosions are gone on from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ExitCode, ProcessHandlerReport, calcfunction, process_handler, while_

from ..calculations.lammps import LammpsCalculation
from ..science.config import MdConfig
from .submission import RestartOnce, call_once, derived_seed

CODES = LammpsCalculation.exit_codes
HALTS = ('halted', 'danger', 'lost_atoms', 'non_finite')


class LammpsBaseWorkChain(RestartOnce, BaseRestartWorkChain):
    """Run MD from a structure or a restart file to step ``md.n_steps`` or a halt, through kills and wall limits.

    A segment is one stretch of MD from a stored file with a seed of its own, derived from `lammps.seed`; an iteration
    is one run of LAMMPS. A replayed segment keeps its inputs, so it gives the same bits.
    """

    _process_class = LammpsCalculation
    # runs of one segment at most; the timestep after an excursion, in units of the one before
    defaults = AttributeDict({'tries': 3, 'timestep_factor': 0.5})

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        spec.expose_inputs(
            LammpsCalculation, namespace='lammps', namespace_options={'help': 'What the first segment is made of.'}
        )
        spec.inputs['max_iterations'].default = lambda: orm.Int(50)
        spec.inputs['clean_workdir'].default = lambda: orm.Bool(True)
        spec.inputs['clean_workdir'].help = (
            'Remove the remote folder of each run that ended well as soon as its files are nodes; failed runs keep it.'
        )
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )
        spec.expose_outputs(LammpsCalculation, exclude=('summary', 'restart', 'remote_folder'))
        spec.output('summary', valid_type=orm.Dict, required=False, help='That of the last segment, totals over all.')
        spec.output('restart', valid_type=orm.SinglefileData, required=False,
                    help='Where MD goes on: the end, or before the excursion when the end is unphysical.')  # fmt: skip
        spec.exit_code(411, 'ERROR_NO_PROGRESS', message='The wall limit is below one restart interval: {message}')
        spec.exit_code(412, 'ERROR_STILL_FAILING', message='The same segment failed {tries} times: {message}')
        spec.exit_code(413, 'ERROR_HOPELESS', message='LAMMPS would fail in the same way again: {message}')
        spec.exit_code(
            601, 'SEGMENTS_SPENT', message='All {count} runs are spent at step {step}; outputs are attached.'
        )

    def setup(self) -> None:
        """Start with the inputs as they are; nothing has run."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(LammpsCalculation, 'lammps'))
        self.ctx.segment = 0
        self.ctx.excursion = None
        self.ctx.summaries = {}
        self._begin_segment()

    def inspect_process(self) -> Any:
        """Note what a run left, let the handlers decide, free the space of what was read."""
        calculation = self.ctx.children[self.ctx.iteration - 1]
        if 'outcome' in calculation.outputs:
            self._count(calculation)
            step, outcome = calculation.outputs.summary['last_step'], calculation.outputs.outcome.value
            self.report(f'segment {self.ctx.segment} ended at step {step}: {outcome}')
        if calculation.is_finished_ok and self.inputs.clean_workdir.value:
            self._clean(calculation)
        return super().inspect_process()

    def on_terminated(self) -> None:
        """Leave the folders of failed runs: those of the others are gone already."""
        super(BaseRestartWorkChain, self).on_terminated()

    # what happened -> what is done about it --------------------------------------------------------------------------

    @process_handler(
        priority=700,
        exit_codes=[
            CODES.ERROR_REFUSED_BY_LAMMPS,
            CODES.ERROR_CANARY_DIFFERS,
            CODES.ERROR_GRADES_ARE_ZERO,
            CODES.ERROR_SCHEDULER_OUT_OF_MEMORY,
        ],
    )
    def give_up(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Stop: the same program, script and potential end in the same way."""
        self.report(f'Action taken: none helps {_name(calculation)}')
        return ProcessHandlerReport(True, self.exit_codes.ERROR_HOPELESS.format(message=calculation.exit_message))

    @process_handler(priority=600, exit_codes=[CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME])
    def resume_after_hard_limit(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Go on from the newest restart file that was left: a replay would be killed at its wall limit, too."""
        if 'restart_previous' not in calculation.outputs or not _progress(calculation):
            message = f'{_name(calculation)} left no restart file later than its start'
            return ProcessHandlerReport(True, self.exit_codes.ERROR_NO_PROGRESS.format(message=message))
        self._count(calculation)
        step = calculation.outputs.summary['restart_previous_step']
        self._resume_from(calculation, 'restart_previous', step)
        self.report(f'Action taken: {_name(calculation)} was killed at its wall limit, MD goes on from step {step}')
        return ProcessHandlerReport(True)

    @process_handler(priority=550, exit_codes=[CODES.ERROR_DISK_FULL])
    def resume_after_full_disk(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Remove the folder that filled the disk, for its files are nodes, and go on from its newest restart file."""
        if self.inputs.clean_workdir.value:
            self._clean(calculation)
        if 'restart_previous' not in calculation.outputs or not _progress(calculation):
            return None
        self._count(calculation)
        step = calculation.outputs.summary['restart_previous_step']
        self._resume_from(calculation, 'restart_previous', step)
        self.report(f'Action taken: {_name(calculation)} filled the disk, its folder is gone, MD goes on from {step}')
        return ProcessHandlerReport(True)

    @process_handler(
        priority=500,
        exit_codes=[
            CODES.ERROR_KILLED,
            CODES.ERROR_CRASHED,
            CODES.ERROR_DISK_FULL,
            CODES.ERROR_NO_LOG,
            CODES.ERROR_UNREADABLE_OUTPUT,
            CODES.ERROR_SCHEDULER_NODE_FAILURE,
        ],
    )
    def replay(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Run the segment again with the same inputs: it gives the same bits, so a kill changes nothing."""
        if self.ctx.tries >= self.defaults.tries:
            code = self.exit_codes.ERROR_STILL_FAILING.format(tries=self.ctx.tries, message=calculation.exit_message)
            return ProcessHandlerReport(True, code)
        self.ctx.tries += 1
        self.report(f'Action taken: {_name(calculation)} is replayed, try {self.ctx.tries} of {self.defaults.tries}')
        return ProcessHandlerReport(True)

    @process_handler(priority=400, exit_codes=[ExitCode(0)])
    def resume_after_wall_limit(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Go on from the last step of a run that stopped itself before its wall limit."""
        if calculation.outputs.outcome.value != 'walltime':
            return None
        step = calculation.outputs.summary['last_step']
        if self.ctx.iteration >= self.inputs.max_iterations.value:
            return self._finish(self.exit_codes.SEGMENTS_SPENT.format(count=self.ctx.iteration, step=step))
        self._resume_from(calculation, 'restart', step)
        self.report(f'Action taken: MD goes on from step {step}, where the wall limit ended {_name(calculation)}')
        return ProcessHandlerReport(True)

    @process_handler(priority=300, exit_codes=[ExitCode(0), CODES.ERROR_LOST_ATOMS, CODES.ERROR_NON_FINITE])
    def roll_back(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Go back before an excursion above danger, once, with half the timestep.

        A timestep too long for the moment sends atoms where no potential knows its way; what happens again with a
        shorter one is ignorance, and the end of the MD.
        """
        if calculation.outputs.outcome.value not in ('danger', 'lost_atoms', 'non_finite'):
            return None
        if self.ctx.excursion is not None or self.ctx.iteration >= self.inputs.max_iterations.value:
            return self._finish()
        md = self.ctx.inputs.md.get_dict()
        old = MdConfig.model_validate(md).timestep_ps
        new = old * self.defaults.timestep_factor
        summary = calculation.outputs.summary.get_dict()
        self.ctx.excursion = {'timestep_halved_at': resume_step({**summary, 'end_is_physical': False})}
        self.ctx.inputs.md = {**md, 'timestep_ps': new}
        self._resume_from(calculation, 'restart_previous', self.ctx.excursion['timestep_halved_at'])
        self.report(
            f'Action taken: {summary["outcome"]} at step {summary["last_step"]}, MD goes back to step '
            f'{self.ctx.excursion["timestep_halved_at"]}; timestep_ps {old:g} -> {new:g}'
        )
        return ProcessHandlerReport(True)

    # shared ----------------------------------------------------------------------------------------------------------

    def _count(self, calculation: orm.CalcJobNode) -> None:
        """Let the totals know of this segment."""
        self.ctx.summaries[f'segment_{self.ctx.segment:02d}'] = calculation.outputs.summary

    def _begin_segment(self) -> None:
        self.ctx.segment += 1
        self.ctx.tries = 1
        seed = self.inputs.lammps.seed.value
        self.ctx.inputs.seed = orm.Int(derived_seed(seed, f'segment_{self.ctx.segment:02d}'))

    def _resume_from(self, calculation: orm.CalcJobNode, name: str, step: int) -> None:
        """Prepare the next segment from an output, of that step; without one it begins where the last one did.

        As long as it begins before the soft start was over it begins softly.
        """
        if name in calculation.outputs:
            self.ctx.inputs.pop('structure', None)
            self.ctx.inputs.restart = calculation.outputs[name]
            if step >= (calculation.outputs.summary.get('soft_start_until') or 0):
                self.ctx.inputs.pop('previous_potential', None)
                self.ctx.inputs.soft_start = orm.Bool(False)
        self._begin_segment()

    def _finish(self, code: ExitCode | None = None) -> ProcessHandlerReport:
        """End here with what there is, as the failed or stopped run left it."""
        self.ctx.is_finished = True
        if code is not None:
            self.results()  # a code ends the outline before its last step
        return ProcessHandlerReport(True, code or ExitCode())

    def get_outputs(self, node: orm.CalcJobNode) -> dict[str, Any]:
        """Return the last run's outputs with totals over all segments and where MD goes on."""
        outputs = dict(super().get_outputs(node))
        outputs['summary'] = call_once(
            self, 'summarise', summarise_segments, orm.Dict(self.ctx.excursion or {}), **self.ctx.summaries
        )
        name = 'restart_previous' if must_roll_back(outputs['summary']) else 'restart'
        restart = _output(node, name) or self.ctx.inputs.get('restart')
        return outputs if restart is None else {**outputs, 'restart': restart}

    def _clean(self, calculation: orm.CalcJobNode) -> None:
        """Remove a remote folder; all that MD needs of it are nodes."""
        folder = _output(calculation, 'remote_folder')
        try:
            if folder is not None:
                folder._clean()
        except OSError as error:  # a copy from the cache shares the folder of its source
            self.report(f'the remote folder of {_name(calculation)} is not cleaned: {error}')


def _name(calculation: orm.CalcJobNode) -> str:
    return f'{calculation.process_label}<{calculation.pk}>'


def _output(calculation: orm.CalcJobNode, name: str) -> Any:
    return calculation.outputs[name] if name in calculation.outputs else None


def _progress(calculation: orm.CalcJobNode) -> bool:
    """Return whether the newest restart file is later than the start."""
    summary = calculation.outputs.summary.get_dict()
    return (summary['restart_previous_step'] or 0) > (summary['first_step'] or 0)


def must_roll_back(summary: Mapping[str, Any]) -> bool:
    """Return whether MD cannot resume from the end of this segment."""
    rejected = summary['outcome'] == 'overshoot'
    return rejected or (summary['outcome'] in HALTS and not summary['end_is_physical'])


def resume_step(summary: Mapping[str, Any]) -> int:
    """Return the step MD resumes from: the end, else the restart before the excursion, else the segment's start."""
    if not must_roll_back(summary):
        return int(summary['last_step'])
    previous = summary['restart_previous_step']
    return int(summary['first_step'] if previous is None else previous)


@calcfunction
def summarise_segments(excursion: orm.Dict, **summaries: orm.Dict) -> orm.Dict:
    """Return the summary of the last segment with totals over all (`segment_NN` each) and what `excursion` says."""
    names = sorted(summaries, key=lambda name: (len(name), name))  # 100 comes after 99
    rows = [summaries[name].get_dict() for name in names]
    starts = [row['first_step'] for row in rows]
    kept = [end - start for start, end in pairwise([*starts, resume_step(rows[-1])])]  # of the trajectory as it stands
    totals = {
        'first_step': rows[0]['first_step'],
        'n_segments': len(rows),
        'n_checks': sum(row['n_checks'] for row in rows),
        'n_checks_over_call': sum(row['n_checks_over_call'] for row in rows),
        'seconds': sum(row['seconds'] for row in rows),
        'time_ps': sum(steps * row['timestep_ps'] for steps, row in zip(kept, rows, strict=True)),
        'rolled_back': must_roll_back(rows[-1]),
        'resume_step': resume_step(rows[-1]),
        'timestep_halved_at': excursion.get('timestep_halved_at'),
        'swap': next((row['swap'] for row in rows if row.get('swap')), None),
    }
    return orm.Dict({**rows[-1], **totals})
