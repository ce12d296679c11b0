"""MD in segments until its goal, a halt or the end of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain, calcfunction, while_

from ..calculations.lammps import LammpsCalculation
from ..data.dataset import AtomicDatasetData
from .labels import call_once
from .protocol import DEFAULT_OPTIONS, load_protocol, merge
from .submission import SubmitOnce, derived_seed

MAX_TRIES = 3
HOPELESS = (310, 311, 312)  # refused by LAMMPS, grades that are all zero: the same again would end the same
HALTS = ('halted', 'danger', 'lost_atoms', 'non_finite')


class ExplorationWorkChain(SubmitOnce, WorkChain):
    """Run MD from a structure or a restart file; go on after a wall limit, replay a killed segment."""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        spec.input('lammps_code', valid_type=orm.AbstractCode, help='`lmp` with ML-PACE, or `pyacemaker-lmp`.')
        spec.expose_inputs(LammpsCalculation, exclude=('code', 'metadata', 'monitors'))
        spec.inputs['md'].default = lambda: orm.Dict({})
        spec.inputs['thresholds'].default = lambda: orm.Dict({})
        spec.inputs['seed'].default = lambda: orm.Int(1)
        for port in ('md', 'thresholds', 'seed'):
            spec.inputs[port].required = False
        spec.input('max_segments', valid_type=orm.Int, default=lambda: orm.Int(50), help='Runs of LAMMPS at most.')
        spec.input(
            'options',
            valid_type=dict,
            non_db=True,
            default=lambda: dict(DEFAULT_OPTIONS),
            help='Scheduler options of every segment; its wall limit ends a segment softly.',
        )
        spec.outline(
            cls.setup,
            while_(cls.should_run_segment)(
                cls.run_segment,
                cls.inspect_segment,
            ),
            cls.results,
        )
        spec.output('outcome', valid_type=orm.Str, help='`goal`, `halted`, `danger`, `lost_atoms` or `non_finite`; '
                    '`walltime` when the segments are spent.')  # fmt: skip
        spec.output('summary', valid_type=orm.Dict, help='Steps, halt, checks, speed, where to resume.')
        spec.output('frames', valid_type=AtomicDatasetData, required=False,
                    help='Frames before the end with their γ, in time order.')  # fmt: skip
        spec.output('restart', valid_type=orm.SinglefileData,
                    help='Where MD resumes: the end, or before the excursion when the end is unphysical.')  # fmt: skip
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_SEGMENT', message='LAMMPS failed: {message}')
        spec.exit_code(402, 'ERROR_NO_RESTART', message='The end is unphysical and no earlier restart file exists.')
        spec.exit_code(403, 'ERROR_NOTHING_TO_LEARN',
                       message='MD halted and no physical frame shows an atom above the add threshold.')  # fmt: skip
        spec.exit_code(
            601, 'SEGMENTS_SPENT', message='All {count} segments are spent at step {step}; outputs attached.'
        )

    @classmethod
    def get_builder_from_protocol(
        cls,
        lammps_code: orm.AbstractCode,
        *,
        protocol: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **nodes: Any,
    ) -> Any:
        """Return a builder: settings from the protocol with ``overrides`` over them, other ports from ``nodes``.

        Raise ``ValueError`` for an unknown protocol, override or port, naming what is allowed.
        """
        unknown = sorted(set(nodes) - set(cls.spec().inputs))
        if unknown:
            raise ValueError(
                f'{cls.__name__} has no port {", ".join(unknown)}; allowed: {", ".join(cls.spec().inputs)}'
            )
        builder = cls.get_builder()
        builder.lammps_code = lammps_code
        if options is not None:
            builder.options = merge(DEFAULT_OPTIONS, options)
        settings = load_protocol('explore', protocol, overrides)
        for port, node in {**{port: orm.Dict(values) for port, values in settings.items()}, **nodes}.items():
            setattr(builder, port, node)
        return builder

    def setup(self) -> None:
        """Nothing has run."""
        self.ctx.segment = 1
        self.ctx.tries = 1
        self.ctx.restart = self.inputs.get('restart')
        self.ctx.finished = False
        self.ctx.summaries = {}

    def should_run_segment(self) -> bool:
        """Return whether MD has to go on."""
        return not self.ctx.finished

    def run_segment(self) -> Any:
        """Run one segment; a repeated one has the same inputs, so it gives the same trajectory."""
        label = f'segment_{self.ctx.segment:02d}'
        first = self.ctx.segment == 1
        inputs = {
            'code': self.inputs.lammps_code,
            'potential': self.inputs.potential,
            'structure': self.inputs.get('structure') if self.ctx.restart is None else None,
            'restart': self.ctx.restart,
            'md': self.inputs.md,
            'thresholds': self.inputs.thresholds,
            'seed': orm.Int(derived_seed(self.inputs.seed.value, label)),
            'soft_start': orm.Bool(first and self.inputs.soft_start.value),
            'metadata': {'options': dict(self.inputs.options)},
        }
        attempt = '' if self.ctx.tries == 1 else f'_try_{self.ctx.tries}'
        self.report(f'{label}{attempt}: MD from {"a structure" if self.ctx.restart is None else self.ctx.restart}')
        return ToContext(child=self.submit_once(f'{label}{attempt}', LammpsCalculation, inputs))

    def inspect_segment(self) -> Any:
        """Decide what follows: the end, the next segment, or the same again."""
        child = self.ctx.child
        if 'outcome' not in child.outputs or child.exit_status not in (0, 410, 411):
            return self._inspect_failure(child)
        self.ctx.tries = 1
        self.ctx.summaries[f'segment_{self.ctx.segment:02d}'] = child.outputs.summary
        outcome, step = child.outputs.outcome.value, child.outputs.summary['last_step']
        self.report(f'segment {self.ctx.segment} ended at step {step}: {outcome}')
        if outcome != 'walltime':
            self.ctx.finished = True
            return self._inspect_end(child)
        self.ctx.restart = child.outputs.restart
        if self.ctx.segment >= self.inputs.max_segments.value:
            self.results()
            return self.exit_codes.SEGMENTS_SPENT.format(count=self.ctx.segment, step=step)
        self.ctx.segment += 1
        return None

    def results(self) -> None:
        """Attach what the last segment left and where MD resumes."""
        child = self.ctx.child
        self.out('outcome', child.outputs.outcome)
        self.out('summary', call_once(self, 'summarise_segments', summarise_segments, **self.ctx.summaries))
        if 'frames' in child.outputs:
            self.out('frames', child.outputs.frames)
        self.out('restart', self.ctx.restart)

    def _inspect_end(self, child: orm.CalcJobNode) -> Any:
        """Choose the restart file that MD resumes from."""
        summary = child.outputs.summary.get_dict()
        if not must_roll_back(summary):
            self.ctx.restart = child.outputs.restart
        elif 'restart_previous' in child.outputs:
            self.ctx.restart = child.outputs.restart_previous
        if self.ctx.restart is None:
            return self.exit_codes.ERROR_NO_RESTART
        if must_roll_back(summary):
            self.report(f'the end at step {summary["last_step"]} is unphysical, MD resumes at {resume_step(summary)}')
        if summary['outcome'] in HALTS and summary['learning_row'] is None:
            self.results()
            return self.exit_codes.ERROR_NOTHING_TO_LEARN
        return None

    def _inspect_failure(self, child: orm.CalcJobNode) -> Any:
        """Replay a segment that was killed, up to three times; a script that LAMMPS refuses stays refused."""
        said = child.exit_message or str(child.process_state)
        self.report(f'{child.process_label}<{child.pk}> failed, try {self.ctx.tries} of {MAX_TRIES}: {said}')
        if child.exit_status in HOPELESS or self.ctx.tries >= MAX_TRIES:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_SEGMENT.format(message=said)
        self.ctx.tries += 1
        return None


def must_roll_back(summary: Mapping[str, Any]) -> bool:
    """Return whether MD cannot resume from the end of this segment."""
    return summary['outcome'] in HALTS and not summary['end_is_physical']


def resume_step(summary: Mapping[str, Any]) -> int:
    """Return the step MD resumes from: the end, else the restart before the excursion, else the segment's start."""
    if not must_roll_back(summary):
        return int(summary['last_step'])
    previous = summary['restart_previous_step']
    return int(summary['first_step'] if previous is None else previous)


@calcfunction
def summarise_segments(**summaries: orm.Dict) -> orm.Dict:
    """Return the summary of the last segment with totals over all (`segment_NN` each)."""
    names = sorted(summaries, key=lambda name: (len(name), name))  # 100 comes after 99
    rows = [summaries[name].get_dict() for name in names]
    totals = {
        'first_step': rows[0]['first_step'],
        'n_segments': len(rows),
        'n_checks': sum(row['n_checks'] for row in rows),
        'n_checks_over_call': sum(row['n_checks_over_call'] for row in rows),
        'seconds': sum(row['seconds'] for row in rows),
        'rolled_back': must_roll_back(rows[-1]),
        'resume_step': resume_step(rows[-1]),
    }
    return orm.Dict({**rows[-1], **totals})
