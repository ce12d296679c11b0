"""Ports and steps that every WorkChain of tasks has."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import CalcJob

from .input_checks import settings_validator
from .protocol import DEFAULT_OPTIONS
from .settings_models import SETTINGS_MODELS
from .submission import SubmitOnce, derived_seed


def add_shared_ports(spec: Any, *settings: str) -> None:
    """Declare `task_code`, `seed`, `options` and one validated ``Dict`` port for each of ``settings``."""
    spec.input('task_code', valid_type=orm.AbstractCode, help='The `pyacemaker-task` program.')
    for port in settings:
        model = SETTINGS_MODELS[port]
        spec.input(
            port,
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=settings_validator(model, port),
            help=f'Settings, see `{model.__name__}`.',
        )
    spec.input('seed', valid_type=orm.Int, default=lambda: orm.Int(1), help='Root of every random choice.')
    spec.input(
        'options',
        valid_type=dict,
        non_db=True,
        default=lambda: dict(DEFAULT_OPTIONS),
        help='Scheduler options of every calculation.',
    )


class TaskSteps(SubmitOnce):
    """Mixin: submit a task once, with this WorkChain's code, options and a seed of its own; read settings."""

    def submit_task(self, link_label: str, process: type[CalcJob], **inputs: Any) -> orm.ProcessNode:
        """Return the task called under ``link_label``; its `seed`, if it has one, is derived from that label."""
        shared = {'code': self.inputs.task_code, 'metadata': {'options': dict(self.inputs.options)}}  # type: ignore[attr-defined]
        if 'seed' in process.spec().inputs:
            shared['seed'] = orm.Int(derived_seed(self.inputs.seed.value, link_label))  # type: ignore[attr-defined]
        return self.submit_once(link_label, process, {**shared, **inputs})

    def read_settings(self, port: str) -> Any:
        """Return the settings of ``port`` with every default filled in."""
        return SETTINGS_MODELS[port].model_validate(self.inputs[port].get_dict())  # type: ignore[attr-defined]

    def failed(self, *labels: str) -> list[str]:
        """Return, for the awaited children in ``ctx`` under ``labels`` that failed, what they say; report it."""
        messages = []
        for label in labels:
            child = self.ctx[label]  # type: ignore[attr-defined]
            if not child.is_finished_ok:
                said = child.exit_message or child.process_state.value
                messages.append(f'{label} {child.process_label}<{child.pk}>: {said}')
        for message in messages:
            self.report(f'failed: {message}')  # type: ignore[attr-defined]
        return messages
