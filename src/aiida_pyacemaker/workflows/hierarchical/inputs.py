"""The root's inputs: which settings model stands behind which port, what is checked, and the protocol builder."""

from __future__ import annotations

from typing import Any

from aiida import orm

from ...data.dataset import AtomicDatasetData
from ...data.teacher import TeacherModelData
from ...science import config
from ...science.md.checks import check_box, check_intervals
from ..dft.ports import validate_pseudos
from ..dft.scf_inputs import find_cutoffs
from ..input_checks import check_elements, check_overlap
from ..protocol import DEFAULT_OPTIONS, load_protocol, merge
from ..settings_models import SETTINGS_MODELS
from ..trainers import PACEMAKER, check_trainer

CHOICES = ('protocol', 'overrides', 'elements', 'seed', 'trainer', 'options', 'lammps_options')
SETTINGS = {port: model for port, model in SETTINGS_MODELS.items() if port != 'thresholds'}


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Hold the ports against each other: elements, codes, overlaps; a missing port is reported by the port itself."""
    needed = ('elements', 'teacher', 'prototypes', 'md_structure', 'pw', 'task_code', 'lammps_code', 'cutout')
    if any(name not in inputs for name in needed):
        return None
    checks = (_check_codes, _check_chemistry, _check_structures, _check_settings, check_trainer, _check_replay)
    return next((message for check in checks if (message := check(inputs))), None)


def _check_codes(inputs: dict[str, Any]) -> str | None:
    plugins = {'lammps_code': 'pyacemaker.lammps', 'pw.code': 'quantumespresso.pw'}
    codes = {'lammps_code': inputs['lammps_code'], 'pw.code': inputs['pw'].get('code')}
    for port, wanted in plugins.items():
        code = codes[port]
        found = code.default_calc_job_plugin if code is not None else None
        if code is not None and found not in (None, wanted):
            return f'{port}: the code {code.full_label} is for {found}, allowed: {wanted}'
    return None


def _check_chemistry(inputs: dict[str, Any]) -> str | None:
    elements = inputs['elements'].get_list()
    settings = config.CutoutConfig.model_validate(inputs['cutout'].get_dict())
    caps = [settings.passivation_element] if settings.enable_passivation else []
    known = inputs['teacher'].base.attributes.get('elements')
    message = check_elements([*elements, *caps], known, port='teacher', remedy='give a model that was trained on it')
    pseudos = inputs['pw'].get('pseudos', {})
    message = message or validate_pseudos(pseudos, [*elements, *caps], port='pw.pseudos')
    for port in ('prototypes', 'md_structure', 'held_out_structure'):
        if port in inputs and not message:
            present = inputs[port].base.attributes.get('elements')
            message = check_elements(
                present, elements, port='elements', remedy=f'{port} holds an element not named here'
            )
    return message


def _check_structures(inputs: dict[str, Any]) -> str | None:
    for port in ('md_structure', 'held_out_structure'):
        if port in inputs and len(inputs[port].get_frames()) != 1:
            return f'{port}: holds {len(inputs[port].get_frames())} frames, allowed: 1'
    messages = (
        check_overlap(inputs[port].get_frames(), port=port)
        for port in ('prototypes', 'md_structure', 'held_out_structure')
        if port in inputs
    )
    return next((message for message in messages if message), None)


def _check_settings(inputs: dict[str, Any]) -> str | None:
    """Hold settings of different ports against each other: what a child would refuse only after hours."""
    if any(name not in inputs for name in ('md', 'strategy', 'dft')):
        return None
    md = config.MdConfig.model_validate(inputs['md'].get_dict())
    strategy = config.LoopStrategyConfig.model_validate(inputs['strategy'].get_dict())
    dft = config.DftConfig.model_validate(inputs['dft'].get_dict())
    pbc = next(inputs['md_structure'].iter_ase()).pbc
    message = check_intervals(md, strategy.thresholds) or check_box(md, pbc) or _check_policy(inputs)
    if message:
        return message
    if find_cutoffs(dft, inputs['pw'].get('pseudos', {})) is None:
        return 'dft.ecutwfc: not given, and no installed family with these pseudopotentials recommends one (Ry)'
    return None


def _check_replay(inputs: dict[str, Any]) -> str | None:
    if 'strategy' not in inputs or PACEMAKER in inputs.get('trainer', {}):
        return None
    if 'replay_buffer_size' in inputs['strategy'].get_dict():
        return (
            'strategy.replay_buffer_size: the embedded trainer updates incrementally and replays nothing; allowed '
            'with trainer.pacemaker'
        )
    return None


def _check_policy(inputs: dict[str, Any]) -> str | None:
    from ...science.cutout import choose_policy

    try:
        choose_policy(inputs['elements'].get_list(), config.CutoutConfig.model_validate(inputs['cutout'].get_dict()))
    except ValueError as error:
        return str(error)
    return None


def fill_builder(
    builder: Any,
    codes: dict[str, orm.AbstractCode],
    *,
    structures: dict[str, AtomicDatasetData],
    teacher: TeacherModelData,
    pseudos: dict[str, Any],
    **choices: Any,
) -> Any:
    """Fill a builder of the root from a protocol.

    codes: `task`, `lammps` and `pw`; structures: `prototypes`, `md_structure` and optionally `held_out_structure`;
    pseudos: UPF nodes by element; choices: `protocol`, `overrides` (nested as the settings ports), `elements`, `seed`,
    `trainer` (namespace `embedded` or `pacemaker`), `options`, `lammps_options` (over `options`, for the MD). Raise
    ``ValueError`` for an unknown choice, protocol or override key.
    """
    settings = load_protocol('hierarchical', choices.pop('protocol', None), choices.pop('overrides', None))
    builder.task_code, builder.lammps_code, builder.pw.code = codes['task'], codes['lammps'], codes['pw']
    builder.pw.pseudos = pseudos
    parameters = settings.pop('pw_parameters', None)
    if parameters:
        builder.pw.parameters = orm.Dict(parameters)
    builder.teacher = teacher
    for port, node in structures.items():
        setattr(builder, port, node)
    present = {symbol for node in structures.values() for symbol in node.base.attributes.get('elements')}
    builder.elements = orm.List(list(choices.pop('elements', sorted(present))))
    for port in SETTINGS:
        setattr(builder, port, orm.Dict(settings.get(port, {})))
    builder.seed = orm.Int(choices.pop('seed', 1))
    if 'trainer' in choices:
        builder.trainer = choices.pop('trainer')
    if 'options' in choices:
        builder.options = merge(DEFAULT_OPTIONS, choices.pop('options'))
    builder.lammps_options = dict(choices.pop('lammps_options', {}))
    if choices:
        raise ValueError(f'unknown {sorted(choices)}; allowed: {", ".join(CHOICES)}')
    return builder
