"""The root's inputs: which settings model stands behind which port, what is checked, and the protocol builder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from ...calculations.lammps_checks import validate_measure
from ...data.ace_potential import AcePotentialData
from ...data.dataset import AtomicDatasetData
from ...data.teacher import TeacherModelData
from ...science import config
from ...science.cutout import cap_elements, cap_pseudos, find_uncuttable
from ...science.md.checks import check_box, check_intervals, check_stride
from ..dft.ports import add_pw_ports, validate_pseudos
from ..dft.scf_inputs import find_cutoffs
from ..input_checks import check_elements, check_overlap
from ..ports import add_shared_ports
from ..protocol import DEFAULT_OPTIONS, load_protocol, merge
from ..settings_models import SETTINGS_MODELS
from ..trainers import BLOCK_TYPES, PACEMAKER, add_trainer_ports, check_trainer
from .walkers import make_walkers

START = ('potential', 'blocks', 'rows')
CHOICES = ('protocol', 'overrides', 'elements', 'seed', 'trainer', 'options', 'lammps_options', *START)
SETTINGS = {port: model for port, model in SETTINGS_MODELS.items() if port != 'thresholds'}


def add_root_ports(spec: Any) -> None:
    """Declare every input of the root."""
    add_shared_ports(spec, *SETTINGS)
    add_trainer_ports(spec)
    spec.input('lammps_code', valid_type=orm.AbstractCode, help='`lmp` with ML-PACE, or `pyacemaker-lmp`.')
    spec.input('lammps_options', valid_type=dict, non_db=True, default=dict,
               help='Scheduler options of the MD, over those of `options`: GPUs, ranks, a queue.')  # fmt: skip
    add_pw_ports(spec)
    spec.input('teacher', valid_type=TeacherModelData, help='The foundation model, or a committee of them.')
    spec.input('elements', valid_type=orm.List, help='Chemical symbols of the system.')
    spec.input('prototypes', valid_type=AtomicDatasetData, required=False,
               help='Crystals that pools and gates start from; default: structure types of `elements`.')  # fmt: skip
    spec.input('md_structure', valid_type=AtomicDatasetData, required=False,
               help='Where MD starts: a walker from each frame, or as `strategy.walkers` says; default: the most '
               'stable crystal that phase 1 finds.')  # fmt: skip
    spec.input('held_out_structure', valid_type=AtomicDatasetData, required=False,
               help='One frame for the walker whose cutouts are kept out; default: the first of `md_structure`.')
    spec.input('potential', valid_type=AcePotentialData, required=False,
               help='A potential to start with, in place of phases 1 and 2; it needs its `blocks`.')  # fmt: skip
    spec.input_namespace('blocks', valid_type=BLOCK_TYPES, dynamic=True, required=False,
                         help='What `potential` was fitted to, by source.')  # fmt: skip
    spec.input_namespace('rows', valid_type=orm.ArrayData, dynamic=True, required=False,
                         help='Array `indices` by block of `potential`: the rows that count, where not all do.')
    spec.inputs.validator = validate_inputs


def validate_inputs(inputs: dict[str, Any], _: Any) -> str | None:
    """Hold the ports against each other: elements, codes, overlaps; a missing port is reported by the port itself."""
    needed = ('elements', 'teacher', 'pw', 'task_code', 'lammps_code', 'cutout')
    if any(name not in inputs for name in needed):
        return None
    checks = (
        _check_codes, _check_chemistry, _check_structures, _check_settings, _check_start, _check_oracle, check_trainer,
        _check_replay,
    )  # fmt: skip
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
    known = inputs['teacher'].base.attributes.get('elements')
    needed = [*elements, *cap_elements(elements, settings)]
    message = check_elements(needed, known, port='teacher', remedy='give a model that was trained on it')
    pseudos = inputs['pw'].get('pseudos', {})
    message = message or validate_pseudos(pseudos, [*elements, *cap_pseudos(elements, settings)], port='pw.pseudos')
    for port in ('prototypes', 'md_structure', 'held_out_structure'):
        if port in inputs and not message:
            present = inputs[port].base.attributes.get('elements')
            message = check_elements(
                present, elements, port='elements', remedy=f'{port} holds an element not named here'
            )
    return message


def _check_structures(inputs: dict[str, Any]) -> str | None:
    if 'md_structure' not in inputs and 'potential' in inputs:
        return 'md_structure: not given, and with `potential` no phase 1 would find a crystal to start from'
    if 'md_structure' in inputs and len(inputs['md_structure']) == 0:
        return 'md_structure: holds no frame, allowed: 1 and more, a walker from each'
    if 'held_out_structure' in inputs and len(inputs['held_out_structure']) != 1:
        return f'held_out_structure: holds {len(inputs["held_out_structure"])} frames, allowed: 1'
    messages = (
        check_overlap(inputs[port].get_frames(), port=port)
        for port in ('prototypes', 'md_structure', 'held_out_structure')
        if port in inputs
    )
    return next((message for message in messages if message), None) or _check_prospects(inputs)


def _check_prospects(inputs: dict[str, Any]) -> str | None:
    """Refuse a structure of which nothing could ever be labelled: else the first halt of its MD would tell."""
    settings = config.CutoutConfig.model_validate(inputs['cutout'].get_dict())
    for row, frame in enumerate(inputs['md_structure'].iter_ase() if 'md_structure' in inputs else ()):
        found = find_uncuttable(frame, settings)
        if set(found) == set(frame.get_chemical_symbols()):
            why = '; '.join(sorted(set(found.values())))
            return (
                f'md_structure: nothing can be cut out of frame {row} ({len(frame)} atoms): {why}; give a frame of at '
                f'most cutout.max_frame_atoms ({settings.max_frame_atoms}), raise that, or set cutout.policy'
            )
    return None


def count_starts(inputs: Mapping[str, Any]) -> int:
    """Return how many structures MD can start from: the frames of `md_structure`, else the one that phase 1 finds."""
    return len(inputs['md_structure']) if 'md_structure' in inputs else 1


def _check_settings(inputs: dict[str, Any]) -> str | None:
    """Hold settings of different ports against each other: what a child would refuse only after hours."""
    if any(name not in inputs for name in ('md', 'strategy', 'dft')):
        return None
    shared = inputs['md'].get_dict()
    strategy = config.LoopStrategyConfig.model_validate(inputs['strategy'].get_dict())
    dft = config.DftConfig.model_validate(inputs['dft'].get_dict())
    try:
        walkers = make_walkers(strategy, count_starts(inputs), shared)
    except ValueError as error:
        return str(error)
    boxes = [atoms.pbc for atoms in inputs['md_structure'].iter_ase()] if 'md_structure' in inputs else [[True] * 3]
    for walker in walkers.values():
        md = config.MdConfig.model_validate(merge(shared, walker['md']))
        message = check_intervals(md, strategy.thresholds) or check_box(md, boxes[walker['structure']])
        message = message or check_stride(walker['stride'], strategy.thresholds)
        if message:
            return message
    message = _check_target(inputs) or validate_measure(strategy.thresholds, inputs, inputs['elements'].get_list())
    if message:
        return message
    if find_cutoffs(dft, inputs['pw'].get('pseudos', {})) is None:
        return 'dft.ecutwfc: not given, and no installed family with these pseudopotentials recommends one (Ry)'
    return None


def _check_target(inputs: dict[str, Any]) -> str | None:
    """Hold a force error that thresholds are to be calibrated on against what else is given."""
    given = inputs['strategy'].get_dict().get('thresholds', {})
    if given.get('target_force_error') is None:
        return None
    if 'threshold_call_dft' in given:
        return 'strategy.thresholds: target_force_error and threshold_call_dft are both given; allowed: one of them'
    if 'potential' in inputs or PACEMAKER in inputs.get('trainer', {}):
        return (
            'strategy.thresholds.target_force_error: needs the held-out set of a distillation by trainer.embedded; '
            'with a potential to start with, or pacemaker, give threshold_call_dft'
        )
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


def _check_start(inputs: dict[str, Any]) -> str | None:
    """Hold the potential to start with against its blocks, the elements and `distillation.enable`."""
    if 'potential' not in inputs:
        if 'distillation' in inputs and not inputs['distillation'].get_dict().get('enable', True):
            return 'distillation.enable: false without a potential to start with; give `potential` and its `blocks`'
        return 'blocks: given without the potential that was fitted to them' if inputs.get('blocks') else None
    if not inputs.get('blocks'):
        return 'potential: given without `blocks`; it goes on learning from what it was fitted to'
    found, wanted = set(inputs['potential'].elements), set(inputs['elements'].get_list())
    if found != wanted:
        return f'potential: knows {", ".join(sorted(found))}, elements are {", ".join(sorted(wanted))}'
    return None


def _check_oracle(inputs: dict[str, Any]) -> str | None:
    asked = 'strategy' in inputs and inputs['strategy'].get_dict().get('use_tiered_oracle', False)
    if not asked or inputs['teacher'].n_members > 1:
        return None
    return (
        'strategy.use_tiered_oracle: one model cannot say how unsure it is; allowed with a committee (a teacher of '
        'several models)'
    )


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
    `trainer` (namespace `embedded` or `pacemaker`), `options`, `lammps_options` (over `options`, for the MD), and
    `potential`, `blocks`, `rows` to start with. Raise ``ValueError`` for an unknown choice, protocol or override key.
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
    for port in ('trainer', *START):
        if port in choices:
            setattr(builder, port, choices.pop(port))
    if 'options' in choices:
        builder.options = merge(DEFAULT_OPTIONS, choices.pop('options'))
    builder.lammps_options = dict(choices.pop('lammps_options', {}))
    if choices:
        raise ValueError(f'unknown {sorted(choices)}; allowed: {", ".join(CHOICES)}')
    return builder
