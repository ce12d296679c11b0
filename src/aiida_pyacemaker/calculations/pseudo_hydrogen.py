"""``ld1.x`` makes a pseudo-hydrogen of fractional charge."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob
from aiida_pseudo.data.pseudo import UpfData

from ..data.pseudo_hydrogen import PseudoHydrogenData
from ..science.dft.pseudo_hydrogen import CHARGE_RANGE, LD1_FUNCTIONALS, UPF_FILE, RADIUS_RANGE_bohr, ld1_input
from ..science.dft.upf import HEADER_BYTES, check_functionals, read_header
from .base import DEFAULT_RESOURCES, ONE_THREAD, add_check

INPUT_FILE, OUTPUT_FILE = 'ld1.in', 'ld1.out'


class PseudoHydrogenCalculation(CalcJob):
    """Makes a norm-conserving pseudopotential of a hydrogen with nuclear charge ``charge`` and as many electrons."""

    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports and exit codes."""
        super().define(spec)
        options = spec.inputs['metadata']['options']
        options['parser_name'].default = 'pyacemaker.pseudo_hydrogen'
        options['resources'].default = lambda: dict(DEFAULT_RESOURCES)
        options['withmpi'].default = False
        options['environment_variables'].default = lambda: dict(ONE_THREAD)
        options['input_filename'].default = INPUT_FILE
        options['output_filename'].default = OUTPUT_FILE
        spec.input(
            'charge',
            valid_type=orm.Float,
            validator=_validate_range('charge', 'e', CHARGE_RANGE),
            help='Nuclear charge (e) and number of electrons, see `cap_charge`.',
        )
        spec.input(
            'functional',
            valid_type=orm.Str,
            validator=validate_functional,
            help=f'Functional, one of {", ".join(LD1_FUNCTIONALS)}: that of the other pseudopotentials.',
        )
        spec.input(
            'core_radius_bohr',
            valid_type=orm.Float,
            default=lambda: orm.Float(1.1),
            validator=_validate_range('core_radius_bohr', 'bohr', RADIUS_RANGE_bohr),
            help='Beyond this radius pseudo and full wave function agree; smaller is harder.',
        )
        spec.input_namespace(
            'pseudos',
            valid_type=UpfData,
            dynamic=True,
            required=False,
            help='The pseudopotentials it will stand beside: their functional must be the same.',
        )
        add_check(spec, validate_family)
        spec.output('pseudo', valid_type=PseudoHydrogenData, help='The pseudopotential.')
        spec.output('output_parameters', valid_type=orm.Dict, help='Charge, functional and 1s levels in Ry.')
        for status, name, message in (
            (302, 'ERROR_NO_OUTPUT', 'The program left no {name}: {said}.'),
            (303, 'ERROR_UNREADABLE_OUTPUT', 'The pseudopotential cannot be read: {message}.'),
            (410, 'ERROR_NOT_BOUND', 'The 1s level of the pseudo-atom is {pseudo} Ry, that of the atom {full} Ry.'),
        ):
            spec.exit_code(status, name, message=message, invalidates_cache=True)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the input; the UPF file is made a node by the parser and not kept twice."""
        text = ld1_input(self.inputs.charge.value, self.inputs.functional.value, self.inputs.core_radius_bohr.value)
        with folder.open(self.options.input_filename, 'w') as handle:
            handle.write(text)
        run = CodeInfo()
        run.code_uuid = self.inputs.code.uuid
        run.stdin_name = self.options.input_filename
        run.stdout_name = self.options.output_filename
        info = CalcInfo()
        info.codes_info = [run]
        info.retrieve_list = [self.options.output_filename]
        info.retrieve_temporary_list = [UPF_FILE]
        return info


def validate_functional(node: orm.Str, _: Any) -> str | None:
    """Refuse a functional that ``ld1.x`` is not known to make."""
    if node.value in LD1_FUNCTIONALS:
        return None
    return f'functional = {node.value!r} cannot be made, allowed: {", ".join(LD1_FUNCTIONALS)}'


def validate_family(inputs: dict[str, Any], _: Any) -> str | None:
    """Hold the functional against the pseudopotentials that the pseudo-hydrogen will stand beside."""
    pseudos = inputs.get('pseudos', {})
    if not pseudos or 'functional' not in inputs:
        return None
    headers = {name: node.get_content()[:HEADER_BYTES] for name, node in pseudos.items()}
    message = check_functionals(headers, port='pseudos')
    if message:
        return message
    wanted, found = inputs['functional'].value, read_header(next(iter(headers.values()))).functional
    if found == wanted:
        return None
    return f'functional = {wanted}, but {", ".join(sorted(headers))} are of {found}: take that, or another family'


def _validate_range(port: str, unit: str, allowed: tuple[float, float]) -> Any:
    low, high = allowed

    def validate(node: orm.Float, _: Any) -> str | None:
        return None if low <= node.value <= high else f'{port} = {node.value} {unit}, allowed: {low} to {high}'

    return validate
