"""MD until its goal, a halt that teaches something, or the end of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain

from ..calculations.lammps import LammpsCalculation
from ..data.dataset import AtomicDatasetData
from .lammps_base import HALTS, LammpsBaseWorkChain
from .protocol import DEFAULT_OPTIONS, load_protocol, merge
from .submission import SubmitOnce

MD_PORTS = (
    'potential', 'previous_potential', 'structure', 'restart', 'md', 'until_step', 'thresholds', 'seed', 'soft_start',
    'settings', 'teacher',
)  # fmt: skip


class ExplorationWorkChain(SubmitOnce, WorkChain):
    """Run MD from a structure or a restart file, and judge its end: is there something to learn, where to go on."""

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
        spec.input('clean_workdir', valid_type=orm.Bool, default=lambda: orm.Bool(True),
                   help='Remove the remote folder of a run that ended well once its files are nodes.')  # fmt: skip
        spec.outline(
            cls.run_md,
            cls.inspect_md,
        )
        spec.output('outcome', valid_type=orm.Str,
                    help='`goal`, `stride` (at `until_step`), `halted`, `danger`, `lost_atoms` or `non_finite`; '
                    '`walltime` when the segments are spent, `overshoot` after a swap.')  # fmt: skip
        spec.output('summary', valid_type=orm.Dict, help='Steps, halt, checks, speed, where to resume.')
        spec.output('frames', valid_type=AtomicDatasetData, required=False,
                    help='Frames before the end with their γ, in time order.')  # fmt: skip
        spec.output('restart', valid_type=orm.SinglefileData,
                    help='Where MD resumes: the end, or before the excursion when the end is unphysical.')  # fmt: skip
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_MD', message='The MD failed: {message}')
        spec.exit_code(402, 'ERROR_NO_RESTART', message='The end is unphysical and no earlier restart file exists.')
        spec.exit_code(403, 'ERROR_NOTHING_TO_LEARN',
                       message='MD halted and no physical frame shows an atom above the add threshold.')  # fmt: skip
        spec.exit_code(
            404,
            'ERROR_SWAP_REJECTED',
            message='The new potential heats the atoms, keep the old one: mean {after:.0f} K over steps {begin} to '
            '{end}, target {target:.0f} K; `restart` is from before the swap.',
        )
        spec.exit_code(
            601, 'SEGMENTS_SPENT', message='All {count} runs are spent at step {step}; outputs are attached.'
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

    def run_md(self) -> Any:
        """Run the MD, through kills, wall limits and a first excursion."""
        lammps = {port: self.inputs[port] for port in MD_PORTS if port in self.inputs}
        inputs = {
            'lammps': {**lammps, 'code': self.inputs.lammps_code, 'metadata': {'options': dict(self.inputs.options)}},
            'max_iterations': self.inputs.max_segments,
            'clean_workdir': self.inputs.clean_workdir,
        }
        return ToContext(child=self.submit_once('md', LammpsBaseWorkChain, inputs))

    def inspect_md(self) -> Any:
        """Attach what the MD left, and say what kind of end it is."""
        child = self.ctx.child
        if 'outcome' not in child.outputs:
            message = child.exit_message or str(child.process_state)
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_MD.format(message=message)
        for port in ('outcome', 'summary', 'frames', 'restart'):
            if port in child.outputs:
                self.out(port, child.outputs[port])
        summary = child.outputs.summary.get_dict()
        if summary['outcome'] == 'walltime':
            count = self.inputs.max_segments.value
            return self.exit_codes.SEGMENTS_SPENT.format(count=count, step=summary['last_step'])
        if summary['outcome'] == 'overshoot':
            swap = summary['swap']
            return self.exit_codes.ERROR_SWAP_REJECTED.format(
                after=swap['temperature_after_K'],
                target=swap['temperature_target_K'],
                begin=swap['soft_start_until'],
                end=swap['judged_until'],
            )
        if 'restart' not in child.outputs:
            return self.exit_codes.ERROR_NO_RESTART
        if summary['rolled_back']:
            self.report(f'the end at step {summary["last_step"]} is unphysical, MD resumes at {summary["resume_step"]}')
        if summary['outcome'] in HALTS and summary['learning_row'] is None:
            return self.exit_codes.ERROR_NOTHING_TO_LEARN
        return None
