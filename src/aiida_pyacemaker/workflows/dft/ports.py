"""What everything that comes to run SCFs is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida_pseudo.data.pseudo import PseudoPotentialData

from ...data.dataset import AtomicDatasetData
from ...science.config import DftConfig
from ...science.dft.pseudo_hydrogen import CAP_NAME
from ...science.dft.upf import HEADER_BYTES, check_functionals
from ..input_checks import check_elements, settings_validator, validate_pw_parameters
from ..protocol import DEFAULT_OPTIONS


def add_pw_ports(spec: Any) -> None:
    """Declare the namespace `pw`: the same in everything that comes to run an SCF."""
    spec.input_namespace('pw', help='The `pw.x` program, its pseudopotentials and overrides of its input.')
    spec.input('pw.code', valid_type=orm.AbstractCode, help='The `pw.x` program.')
    spec.input_namespace(
        'pw.pseudos',
        valid_type=PseudoPotentialData,
        dynamic=True,
        help='A UPF pseudopotential for every element; `H31` is that of caps on the element of number 31.',
    )
    spec.input(
        'pw.parameters',
        valid_type=orm.Dict,
        required=False,
        validator=validate_pw_parameters,
        help='Namelists that override those of the settings.',
    )


def add_scf_ports(spec: Any) -> None:
    """Declare what the SCFs of many frames are made of and what they may cost."""
    spec.input('dataset', valid_type=AtomicDatasetData, help='The frames to label.')
    add_pw_ports(spec)
    spec.input(
        'dft',
        valid_type=orm.Dict,
        default=lambda: orm.Dict({}),
        validator=settings_validator(DftConfig, 'dft'),
        help='Settings, see `DftConfig`.',
    )
    spec.input(
        'max_calls',
        valid_type=orm.Int,
        required=False,
        validator=_validate_positive('max_calls'),
        help='SCF runs that may be paid for; default: no limit.',
    )
    for what, meaning in (('core', 'Core-hours that SCF runs may take'), ('wall', 'Hours after which none is started')):
        name = f'max_{what}_hours'
        spec.input(
            name,
            valid_type=orm.Float,
            required=False,
            validator=_validate_positive(name),
            help=f'{meaning}; default: no limit.',
        )
    spec.input(
        'options',
        valid_type=dict,
        non_db=True,
        default=lambda: dict(DEFAULT_OPTIONS),
        help='Scheduler options of every SCF.',
    )
    spec.exit_code(203, 'ERROR_NO_CUTOFFS', message='No cut-offs: give dft.ecutwfc (Ry) or install a family with them.')


def validate_pseudos(pseudos: Mapping[str, Any], elements: Any, *, port: str, input_dft: bool = False) -> str | None:
    """Return what is wrong with pseudopotentials: an element without one, or mixed functionals.

    input_dft: whether the input names a functional that overrules those of the files.
    """
    message = check_elements(elements, pseudos, port=port, remedy='give a UPF for each element')
    if message or input_dft:
        return message
    caps = [name for name in pseudos if CAP_NAME.fullmatch(name)]
    used = {name: pseudos[name].get_content()[:HEADER_BYTES] for name in [*elements, *caps]}
    return check_functionals(used, port=port)


def _validate_positive(port: str) -> Any:
    def validate(node: Any, _: Any) -> str | None:
        return None if node.value > 0 else f'{port} = {node.value}: nothing could be paid for, allowed: more than 0'

    return validate
