"""The one seam between workflows and those who fit a student: what is given decides, nobody asks which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiida import orm
from aiida.engine import Process

from ..calculations.ace_fit import AceFitCalculation
from ..data.ace_fit_block import AceFitBlockData
from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..science.config import FitConfig, PacemakerConfig
from .input_checks import settings_validator
from .pacemaker_base import PacemakerBaseWorkChain
from .ports import TaskSteps

EMBEDDED, PACEMAKER = 'embedded', 'pacemaker'
BLOCKS = {EMBEDDED: AceFitBlockData, PACEMAKER: AtomicDatasetData}  # what each needs of earlier data
BLOCK_TYPES = tuple(BLOCKS.values())


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a student is fitted to.

    datasets: new labelled data by source; rows: array `indices` by source, new or earlier, where not all rows count;
    blocks: earlier data by source, in the form in which the trainer left them; potential: the student as it is;
    settings: elements, and `baseline` of a first fit or `factors` and `own_zero` of a later one; curve: what the
    learning curve is made of, where one is wanted and the trainer makes it.
    """

    datasets: Mapping[str, orm.Data]
    settings: Mapping[str, Any]
    rows: Mapping[str, orm.ArrayData] = field(default_factory=dict)
    blocks: Mapping[str, orm.Data] = field(default_factory=dict)
    potential: AcePotentialData | None = None
    dimers: orm.Data | None = None
    held_out: orm.Data | None = None
    curve: Mapping[str, Any] = field(default_factory=dict)


class TrainerSteps(TaskSteps):
    """Mixin: fit a student with the trainer that was given; its outputs are `potential`, `blocks`, `metrics`."""

    def submit_fit(self, link_label: str, lesson: Lesson) -> orm.ProcessNode:
        """Return the fit called under ``link_label``."""
        given: Any = self.inputs.get('trainer', {})  # type: ignore[attr-defined]
        makers = {EMBEDDED: self._embedded_fit, PACEMAKER: self._pacemaker_fit}
        name = chosen_trainer(given)
        process, inputs = makers[name](given.get(name, {}), lesson)
        return self.submit_task(link_label, process, **inputs)

    def attach_fit(self, fit: orm.ProcessNode, blocks: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
        """Attach potential, metrics, and the new blocks beside earlier ``blocks`` and ``rows``."""
        new_blocks, new_rows = read_blocks(fit.outputs)
        for name in ('potential', 'metrics'):
            self.out(name, fit.outputs[name])  # type: ignore[attr-defined]
        self.out('blocks', {**blocks, **new_blocks})  # type: ignore[attr-defined]
        self.out('rows', {**rows, **new_rows})  # type: ignore[attr-defined]
        sizes = fit.outputs.potential.base.attributes.get('n_functions')
        count = len({**blocks, **new_blocks})
        self.report(  # type: ignore[attr-defined]
            f'the student is ACE<{fit.outputs.potential.pk}> with functions per element {sizes}, on {count} blocks'
        )

    def fit_failed(self, label: str) -> list[str]:
        """Return what the fit in ``ctx`` under ``label`` says when there is no potential to use; report it."""
        child = self.ctx[label]  # type: ignore[attr-defined]
        if 'potential' in child.outputs and 500 <= (child.exit_status or 0) < 600:
            self.report(f'{child.process_label}<{child.pk}>: {child.exit_message}')  # type: ignore[attr-defined]
            return []
        return self.failed(label)

    def lacks_environments(self, label: str) -> bool:
        """Return whether the data of the fit in ``ctx`` under ``label`` do not span its functions: more are needed."""
        child = self.ctx[label]  # type: ignore[attr-defined]
        too_few: int = child.process_class.exit_codes.ERROR_TOO_FEW_ENVIRONMENTS.status
        return bool(child.exit_status == too_few)

    def _embedded_fit(self, given: Mapping[str, Any], lesson: Lesson) -> tuple[type[Process], dict[str, Any]]:
        said = {name: self.read_settings(name).model_dump() for name in ('fit', 'thresholds')}
        settings = {**lesson.settings, **lesson.curve, **said}
        inputs = _shared_inputs(lesson, settings)
        inputs['rows'] = {name: node for name, node in lesson.rows.items() if name in lesson.datasets}
        return AceFitCalculation, {**inputs, **_code_and_options(given)}

    def _pacemaker_fit(self, given: Mapping[str, Any], lesson: Lesson) -> tuple[type[Process], dict[str, Any]]:
        fit = self.inputs.fit.get_dict()  # type: ignore[attr-defined]  # what was not asked for is not refused
        settings = {**lesson.settings, 'fit': fit, 'pacemaker': given['settings'].get_dict()}
        size = self.inputs.get('replay_buffer_size')  # type: ignore[attr-defined]  # the base has a default
        own = {'code': given['code'], 'options': dict(given.get('options') or self.inputs.options)}  # type: ignore[attr-defined]
        limits = {'replay_buffer_size': size, 'max_iterations': given.get('max_iterations')}
        return PacemakerBaseWorkChain, {**_shared_inputs(lesson, settings), **limits, **own, 'metadata': {}}


def _shared_inputs(lesson: Lesson, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'datasets': dict(lesson.datasets),
        'rows': dict(lesson.rows),
        'blocks': dict(lesson.blocks),
        'potential': lesson.potential,
        'dimers': lesson.dimers,
        'held_out': lesson.held_out,
        'settings': orm.Dict(dict(settings)),
    }


def _code_and_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return code and scheduler options of a calculation, where the trainer has its own."""
    own: dict[str, Any] = {'code': given['code']} if 'code' in given else {}
    return own | ({'metadata': {'options': dict(given['options'])}} if 'options' in given else {})


def add_trainer_ports(spec: Any) -> None:
    """Declare the namespace `trainer`: one of `embedded`, which is the default, and `pacemaker`."""
    spec.input_namespace('trainer', required=False, validator=validate_trainer,
                         help='Who fits the student: one of `embedded` (default) and `pacemaker`.')  # fmt: skip
    absent = {'required': False, 'populate_defaults': False}
    spec.input_namespace(f'trainer.{EMBEDDED}', help='Linear ACE by our own engine.', **absent)
    spec.input(f'trainer.{EMBEDDED}.code', valid_type=orm.AbstractCode, required=False,
               help='The `pyacemaker-task` program, when it is not `task_code`.')  # fmt: skip
    spec.input_namespace(f'trainer.{PACEMAKER}', help='ACE with any embedding by pacemaker.', **absent)
    spec.input(f'trainer.{PACEMAKER}.code', valid_type=orm.AbstractCode, help='The `pacemaker` program.')
    spec.input(f'trainer.{PACEMAKER}.settings', valid_type=orm.Dict, default=lambda: orm.Dict({}),
               validator=settings_validator(PacemakerConfig, f'trainer.{PACEMAKER}.settings'),
               help='Settings, see `PacemakerConfig`.')  # fmt: skip
    spec.input(f'trainer.{PACEMAKER}.max_iterations', valid_type=orm.Int, required=False,
               help='Runs of pacemaker at most, recovery included.')  # fmt: skip
    for name in (EMBEDDED, PACEMAKER):
        spec.input(f'trainer.{name}.options', valid_type=dict, non_db=True, required=False,
                   help='Scheduler options of the fit, when they are not `options`.')  # fmt: skip


def add_block_outputs(spec: Any) -> None:
    """Declare the outputs `blocks` and `rows`: what later fits need of the data of earlier ones."""
    spec.output_namespace('blocks', valid_type=BLOCK_TYPES, dynamic=True,
                          help='What the student was fitted to, by source, as its trainer needs it.')  # fmt: skip
    spec.output_namespace('rows', valid_type=orm.ArrayData, dynamic=True, required=False,
                          help='Array `indices` by block: the rows that count, where not all do.')  # fmt: skip


def read_blocks(outputs: Any) -> tuple[dict[str, orm.Data], dict[str, orm.ArrayData]]:
    """Return blocks and rows of a finished workflow."""
    return dict(outputs.blocks), dict(outputs.rows) if 'rows' in outputs else {}


def validate_trainer(given: Mapping[str, Any], _: Any) -> str | None:
    """Refuse two trainers at once."""
    both = [name for name in (EMBEDDED, PACEMAKER) if name in (given or {})]
    return f'trainer: {" and ".join(both)} are both given, allowed: one of them' if len(both) > 1 else None


def chosen_trainer(given: Mapping[str, Any]) -> str:
    """Return the name of the trainer in the namespace, the embedded one where none is given."""
    return PACEMAKER if PACEMAKER in given else EMBEDDED


def check_trainer(inputs: Mapping[str, Any]) -> str | None:
    """Return what the chosen trainer cannot do with the settings `fit` or the `blocks`, before hours of other work."""
    if 'fit' not in inputs:
        return None
    values, name = inputs['fit'].get_dict(), chosen_trainer(inputs.get('trainer') or {})
    foreign = [block for block, node in (inputs.get('blocks') or {}).items() if not isinstance(node, BLOCKS[name])]
    if foreign:
        allowed = BLOCKS[name].__name__
        return f'blocks: {", ".join(foreign)} left by another trainer; allowed with trainer.{name}: {allowed}'
    if name == PACEMAKER:
        from ..science.pacemaker import refuse_stress

        return refuse_stress(values)
    bent = [key for key, embedding in FitConfig.model_validate(values).whole_basis.embeddings.items()
            if not embedding.is_linear]  # fmt: skip
    if bent:
        return (
            f'fit.basis.embeddings: {", ".join(bent)} not linear; allowed with trainer.embedded: one density with '
            'fs_parameters [1, 1]. Nonlinear embeddings are fitted by pacemaker: give trainer.pacemaker'
        )
    return None
