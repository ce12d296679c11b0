"""Phase 2: the student is held against its teacher before it may drive anything large."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ToContext, WorkChain

from ..calculations.validate import ValidateCalculation
from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from .ports import TaskSteps, add_shared_ports
from .protocol import ProtocolBuilder


class ValidationWorkChain(ProtocolBuilder, TaskSteps, WorkChain):
    """Judge equation of state, elastic constants, stability and a miniature MD by gates."""

    PROTOCOL = 'validation'

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports, outline and exit codes."""
        super().define(spec)
        add_shared_ports(spec, 'validation')
        spec.input('potential', valid_type=AcePotentialData, help='The student.')
        spec.input('teacher', valid_type=TeacherModelData, help='The model it is held against.')
        spec.input('prototypes', valid_type=AtomicDatasetData, help='Crystals that the gates are judged on.')
        spec.outline(
            cls.validate,
            cls.inspect_validate,
        )
        spec.output('report', valid_type=orm.Dict, help='Gates with values, limits and whether they passed.')
        spec.output('arrays', valid_type=orm.ArrayData, help='Curves of energy and volume, grades and temperature.')
        spec.exit_code(401, 'ERROR_SUB_PROCESS_FAILED_VALIDATE', message='The gates could not be judged: {message}.')
        spec.exit_code(601, 'GATE_FAILED', message='These gates failed: {gates}; report and arrays are attached.')

    def validate(self) -> Any:
        """Run the task that measures what the gates ask for."""
        self.report(f'holding ACE<{self.inputs.potential.pk}> against the teacher on its prototypes')
        inputs = {
            'potential': self.inputs.potential,
            'teacher': self.inputs.teacher,
            'structures': self.inputs.prototypes,
            'settings': orm.Dict({'validation': self.read_settings('validation').model_dump()}),
        }
        return ToContext(validate=self.submit_task('validate', ValidateCalculation, **inputs))

    def inspect_validate(self) -> Any:
        """Attach what was measured; name the gates that failed."""
        failed = self.failed('validate')
        if failed:
            return self.exit_codes.ERROR_SUB_PROCESS_FAILED_VALIDATE.format(message='; '.join(failed))
        report = self.ctx.validate.outputs.report
        self.out('report', report)
        self.out('arrays', self.ctx.validate.outputs.arrays)
        gates = report['gates']
        refused = [gate['name'] for gate in gates if not gate['passed']]
        self.report(f'{len(gates) - len(refused)} of {len(gates)} gates passed')
        if refused:
            return self.exit_codes.GATE_FAILED.format(gates=', '.join(refused))
        return None
