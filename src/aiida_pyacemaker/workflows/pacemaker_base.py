"""A fit by pacemaker from sources of labels to a student: reference, replay, and recovery that says what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport, calcfunction, process_handler, while_

from ..calculations.pacemaker import PacemakerCalculation, validate_inputs
from ..data.dataset import AtomicDatasetData
from ..science.config import PacemakerConfig
from .protocol import DEFAULT_OPTIONS
from .submission import RestartOnce, call_once, derived_seed

MONITOR = 'pyacemaker.pacemaker_loss'
POLL_SECONDS = 30
STRONGER = 100.0  # times the regularisation, after a loss that was not finite
CODES = PacemakerCalculation.exit_codes


class PacemakerBaseWorkChain(RestartOnce, BaseRestartWorkChain):
    """Fit by pacemaker until there is a potential; go on from what a fit had reached when it was cut off."""

    _process_class = PacemakerCalculation

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        spec.expose_inputs(
            PacemakerCalculation, exclude=('reference', 'replay', 'start', 'metadata', 'monitors', 'settings')
        )
        spec.input_namespace('blocks', valid_type=AtomicDatasetData, dynamic=True, required=False,
                             help='Earlier labelled data by source, to draw the replay buffer from.')  # fmt: skip
        spec.input('settings', valid_type=orm.Dict, validator=validate_settings,
                   help='Settings of the calculation; for a first fit also `baseline`, `LJ` or `ZBL`.')  # fmt: skip
        spec.input('dimers', valid_type=AtomicDatasetData, required=False,
                   help='Labelled pairs of atoms that the baseline of a first fit is fitted to.')  # fmt: skip
        spec.input('replay_buffer_size', valid_type=orm.Int, default=lambda: orm.Int(500), validator=validate_size,
                   help='Frames of earlier data that are learnt again.')  # fmt: skip
        spec.input('options', valid_type=dict, non_db=True, default=lambda: dict(DEFAULT_OPTIONS),
                   help='Scheduler options of every run of pacemaker.')  # fmt: skip
        spec.inputs.validator = validate_sources
        spec.outline(
            cls.setup,
            cls.draw_replay,
            cls.freeze_reference,
            while_(cls.should_run_process)(
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )
        spec.expose_outputs(PacemakerCalculation, exclude=('interim', 'remote_folder', 'remote_stash', 'retrieved'))
        spec.output_namespace('blocks', valid_type=AtomicDatasetData, dynamic=True, required=False,
                              help='The new labelled data by source: later fits replay from it.')  # fmt: skip
        spec.output_namespace('rows', valid_type=orm.ArrayData, dynamic=True, required=False,
                              help='Array `indices`: the rows of a block that count, where not all do.')  # fmt: skip
        spec.exit_code(411, 'ERROR_NO_REMEDY', message='The fit failed and nothing is left to try: {message}')
        spec.exit_code(414, 'ERROR_TOO_FEW_ENVIRONMENTS', message='{message}')
        spec.exit_code(501, 'USABLE_BUT_NOT_CONVERGED', message='The potential is usable but not converged: {message}')

    def setup(self) -> None:
        """Take over the inputs."""
        super().setup()
        settings = self.inputs.settings.get_dict()
        self.ctx.baseline = settings.pop('baseline', 'LJ')
        self.ctx.settings = settings
        self.ctx.inputs = {
            **{name: self.inputs[name] for name in ('code', 'seed', 'potential', 'held_out') if name in self.inputs},
            'datasets': dict(self.inputs.datasets),
            'rows': dict(self.inputs.get('rows', {})),
            'metadata': {'options': dict(self.inputs.options)},
        }

    def draw_replay(self) -> None:
        """Draw from earlier data what is learnt again; a buffer larger than these takes all of it."""
        blocks = dict(self.inputs.get('blocks', {}))
        if not blocks:
            return
        size, seed = self.inputs.replay_buffer_size, orm.Int(derived_seed(self.inputs.seed.value, 'replay'))
        known = {name: node for name, node in self.inputs.get('rows', {}).items() if name in blocks}
        replay = call_once(self, 'draw_replay', draw_replay_rows, size, seed, **_flatten(blocks, known))
        counts = {name: replay.get_shape(name)[0] for name in replay.get_arraynames()}
        total = sum(counts.values())
        larger = f'; a buffer of {size.value} is larger than history' if total < size.value else ''
        self.report(f'replaying {total} earlier frames: {counts}{larger}')
        self.ctx.inputs['replay'] = replay
        self.ctx.inputs['datasets'] |= {name: node for name, node in blocks.items() if counts.get(name)}
        forgotten = {name for name in blocks if not counts.get(name)}
        factors = self.ctx.settings.get('factors') or {}
        self.ctx.settings['factors'] = {name: value for name, value in factors.items() if name not in forgotten}
        for name in forgotten:
            self.ctx.inputs['rows'].pop(name, None)

    def freeze_reference(self) -> None:
        """Settle baseline, reference energies and bond length; a previous potential has them."""
        if 'potential' in self.inputs:
            return
        dimers = {'dimers': self.inputs.dimers} if 'dimers' in self.inputs else {}
        what = orm.Dict({'elements': self.ctx.settings.get('elements', []), 'baseline': self.ctx.baseline})
        nodes = {**dimers, **_flatten(self.ctx.inputs['datasets'], self.ctx.inputs['rows'])}
        reference = call_once(self, 'freeze_reference', fit_frozen_reference, what, **nodes)
        energies = {name: round(value, 3) for name, value in reference['reference_energies'].items()}
        self.report(f'reference energies of this and all later fits: {energies} eV')
        self.ctx.inputs['reference'] = reference

    def run_process(self) -> Any:
        """Run pacemaker with the settings as they are now, watched."""
        self.ctx.inputs['settings'] = orm.Dict(self.ctx.settings)
        kwargs = {'factor': self._pacemaker().diverged_factor}
        watch = {'entry_point': MONITOR, 'kwargs': kwargs, 'minimum_poll_interval': POLL_SECONDS}
        self.ctx.inputs['monitors'] = {'loss': orm.Dict(watch)}
        return super().run_process()

    def results(self) -> Any:
        """Attach the student and what later fits replay from."""
        stop = super().results()
        if stop is not None:
            return stop
        self.out('blocks', dict(self.inputs.datasets))
        self.out('rows', {name: node for name, node in self.inputs.get('rows', {}).items()
                          if name in self.inputs.datasets})  # fmt: skip
        return None

    @process_handler(priority=600, exit_codes=[CODES.ERROR_OUT_OF_WALLTIME, CODES.ERROR_KILLED, CODES.ERROR_NO_LOG])
    def go_on(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Go on from the potential that the fit had when it was cut off; without one, begin again, once."""
        gained = bool(_iterations(calculation)) and 'interim' in calculation.outputs
        if not gained and self.ctx.get('fruitless'):
            return self._give_up(f'{calculation.exit_message} Two runs ended without an iteration to go on from')
        self.ctx.fruitless = not gained
        self._report_action(calculation, self._take_interim(calculation))
        return ProcessHandlerReport(True)

    @process_handler(priority=600, exit_codes=[CODES.ERROR_OUT_OF_MEMORY])
    def halve_batches(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Halve the batches, and go on from what there is."""
        old = self._pacemaker().batch_size
        if old == 1:
            return self._give_up(f'{calculation.exit_message} Batches hold one structure already')
        self._change(batch_size=old // 2)
        self._report_action(calculation, f'batch_size {old} -> {old // 2}; {self._take_interim(calculation)}')
        return ProcessHandlerReport(True)

    @process_handler(priority=600, exit_codes=[CODES.ERROR_NOT_FINITE, CODES.ERROR_DIVERGED])
    def regularise(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Regularise more strongly, once, from where the fit first began."""
        if self.ctx.get('regularised'):
            return self._give_up(f'{calculation.exit_message} A stronger regularisation did not help')
        self.ctx.regularised = True
        old = self._pacemaker()
        first = PacemakerConfig.model_validate(self.inputs.settings.get_dict().get('pacemaker') or {})
        new = {name: STRONGER * max(getattr(old, name), 1e-8) for name in ('L1_coeffs', 'L2_coeffs')}
        if first.maxiter != old.maxiter:  # what was left of a fit that was gone on from
            new['maxiter'] = first.maxiter
        self._change(**new)
        self.ctx.inputs.pop('start', None)
        changes = ', '.join(f'{name} {getattr(old, name):g} -> {value:g}' for name, value in new.items())
        self._report_action(calculation, f'{changes}; from where the fit began')
        return ProcessHandlerReport(True)

    @process_handler(
        priority=600,
        exit_codes=[
            CODES.ERROR_TRUNCATED_POTENTIAL,
            CODES.ERROR_REFUSED_BY_PACEMAKER,
            CODES.ERROR_DATASET_UNREADABLE,
            CODES.ERROR_NO_TENSORFLOW,
            CODES.ERROR_NO_FIT,
        ],
    )
    def give_up(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Stop: the same program and input end in the same way."""
        return self._give_up(calculation.exit_message)

    @process_handler(priority=600, exit_codes=[CODES.ERROR_TOO_FEW_ENVIRONMENTS])
    def ask_for_more(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Stop: no other fit to these data has an active set; whoever makes data may make more."""
        message = calculation.exit_message
        return ProcessHandlerReport(True, self.exit_codes.ERROR_TOO_FEW_ENVIRONMENTS.format(message=message))

    @process_handler(priority=600, exit_codes=[CODES.USABLE_BUT_NOT_CONVERGED])
    def accept(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Keep a potential whose minimiser gave up: it is whole, and its errors are known."""
        self._report_action(calculation, 'the potential is kept as it is')
        self.ctx.is_finished = True
        self.results()
        return ProcessHandlerReport(True, self.exit_codes.USABLE_BUT_NOT_CONVERGED.format(
            message=calculation.exit_message))  # fmt: skip

    def _give_up(self, message: str) -> ProcessHandlerReport:
        return ProcessHandlerReport(True, self.exit_codes.ERROR_NO_REMEDY.format(message=message))

    def _report_action(self, calculation: orm.CalcJobNode, action: str) -> None:
        said = f'{calculation.process_label}<{calculation.pk}> failed [{calculation.exit_status}]'
        self.report(f'{said}: {calculation.exit_message} Action taken: {action}')

    def _take_interim(self, calculation: orm.CalcJobNode) -> str:
        """Let the next run go on from what this one reached; return what changes."""
        done = _iterations(calculation)
        if 'interim' not in calculation.outputs or not done:
            return 'nothing to go on from: the run begins again'
        self.ctx.inputs['start'] = calculation.outputs.interim
        old = self._pacemaker()
        if old.ladder_step and 'potential' not in self.inputs:  # each rung has all of them
            return f'going up the ladder from iteration {done} (start: its potential), maxiter stays {old.maxiter}'
        new = max(old.maxiter - done, 1)
        self._change(maxiter=new)
        return f'going on from iteration {done} (start: its potential), maxiter {old.maxiter} -> {new}'

    def _pacemaker(self) -> PacemakerConfig:
        return PacemakerConfig.model_validate(self.ctx.settings.get('pacemaker') or {})

    def _change(self, **values: Any) -> None:
        self.ctx.settings = {
            **self.ctx.settings,
            'pacemaker': {**(self.ctx.settings.get('pacemaker') or {}), **values},
        }


def _iterations(calculation: orm.CalcJobNode) -> int:
    """Return how many iterations a fit made, by its learning curve."""
    if 'learning_curve' not in calculation.outputs:
        return 0
    return max(len(calculation.outputs.learning_curve.get_array('loss')) - 1, 0)


@calcfunction
def draw_replay_rows(size: orm.Int, seed: orm.Int, **nodes: orm.Data) -> orm.ArrayData:
    """Return one array of rows for each ``source_<name>``, ``size`` in all, of those in ``rows_<name>`` if given."""
    from ..science.pacemaker import draw_replay

    allowed = {}
    for name, node in _named(nodes, 'source_').items():
        rows = nodes.get(f'rows_{name}')
        allowed[name] = np.arange(len(node)) if rows is None else rows.get_array('indices')
    sizes = {name: len(rows) for name, rows in allowed.items()}
    places = draw_replay(sizes, size=size.value, rng=np.random.default_rng(seed.value))
    return orm.ArrayData({name: np.sort(allowed[name][chosen]) for name, chosen in places.items()})


@calcfunction
def fit_frozen_reference(what: orm.Dict, **nodes: orm.Data) -> orm.Dict:
    """Return baseline, reference energies and bond length of a first fit to ``source_<name>`` (and ``dimers``)."""
    from ..science.pacemaker import fit_reference

    frames = []
    for name, node in _named(nodes, 'source_').items():
        rows = nodes.get(f'rows_{name}')
        frames.append(node.get_frames() if rows is None else node.get_frames().select(rows.get_array('indices')))
    dimers = nodes['dimers'].get_frames() if 'dimers' in nodes else None
    return orm.Dict(fit_reference(frames, what['elements'], what['baseline'], dimers).as_json())


def _flatten(sources: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes of sources and their rows as a calcfunction can be given them."""
    named = {f'source_{name}': node for name, node in sources.items()}
    return named | {f'rows_{name}': node for name, node in rows.items()}


def _named(nodes: Mapping[str, orm.Data], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): nodes[key] for key in sorted(nodes) if key.startswith(prefix)}


def validate_sources(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Hold new and earlier data against the settings as the calculation will, before anything is drawn from them."""
    if 'datasets' not in inputs or 'settings' not in inputs:
        return None
    new, blocks = dict(inputs['datasets']), dict(inputs.get('blocks') or {})
    shared = sorted(set(new) & set(blocks))
    if shared:
        return f'datasets and blocks share {", ".join(shared)}: give new data a new name'
    if blocks and 'potential' not in inputs:
        return 'blocks: earlier data were learnt over a baseline and reference energies: give their `potential` too'
    settings = inputs['settings'].get_dict()
    settings.pop('baseline', None)
    beginning = {'potential': inputs['potential']} if 'potential' in inputs else {'reference': None}
    seen = {'datasets': new | blocks, 'rows': inputs.get('rows') or {}, 'settings': orm.Dict(settings)}
    return validate_inputs({**seen, **beginning}, _)


def validate_settings(node: orm.Dict, port: Any) -> str | None:
    """Hold the settings against those of the calculation; `baseline` is the one key on top."""
    values = node.get_dict()
    baseline = values.pop('baseline', 'LJ')
    if baseline not in ('LJ', 'ZBL'):
        return f'settings.baseline: {baseline!r}, allowed: LJ, ZBL'
    own: Any = PacemakerCalculation.spec().inputs['settings'].validator
    message: str | None = own(orm.Dict(values), port)
    return message


def validate_size(node: orm.Int, _: Any) -> str | None:
    """Refuse a buffer of a negative size."""
    return None if node.value >= 0 else f'replay_buffer_size: {node.value}, allowed: 0 or more'
