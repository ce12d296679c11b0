"""One static SCF that recovers by a ladder of measures, each reported from what to what."""

from __future__ import annotations

import re
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.exceptions import NotExistent
from aiida.engine import ExitCode, ProcessHandlerReport, process_handler, while_
from aiida_quantumespresso.calculations.pw import PwCalculation
from aiida_quantumespresso.common.types import RestartType
from aiida_quantumespresso.workflows.pw.base import PwBaseWorkChain

from ...calculations.scf_monitor import MESSAGE_PREFIX
from ...science.dft import predict_more_steps, read_accuracies
from ..submission import RestartOnce
from .ladder import DEGAUSS_STEP, EXTENSIONS, LADDER, MAX_RUNS, apply_rung, find_flags
from .pw_inputs import check_structure, label_facts

CODES = PwCalculation.exit_codes
DIAGONALISATION = [
    CODES.ERROR_COMPUTING_CHOLESKY,
    CODES.ERROR_S_MATRIX_NOT_POSITIVE_DEFINITE,
    CODES.ERROR_ZHEGVD_FAILED,
    CODES.ERROR_QR_FAILED,
    CODES.ERROR_EIGENVECTOR_CONVERGENCE,
    CODES.ERROR_BROYDEN_FACTORIZATION,
]
BANDS = [CODES.ERROR_DIAGONALIZATION_TOO_MANY_BANDS_NOT_CONVERGED, CODES.ERROR_CHARGE_IS_WRONG]
# no usable output: killed from outside, or a scheduler's limit before a clean end
KILLED = [
    CODES.ERROR_NO_RETRIEVED_FOLDER,
    CODES.ERROR_OUTPUT_STDOUT_MISSING,
    CODES.ERROR_OUTPUT_STDOUT_READ,
    CODES.ERROR_OUTPUT_STDOUT_PARSE,
    CODES.ERROR_OUTPUT_STDOUT_INCOMPLETE,
    CODES.ERROR_OUTPUT_XML_MISSING,
    CODES.ERROR_OUTPUT_XML_MULTIPLE,
    CODES.ERROR_OUTPUT_FILES,
    CODES.ERROR_OUTPUT_XML_READ,
    CODES.ERROR_OUTPUT_XML_PARSE,
    CODES.ERROR_OUTPUT_XML_FORMAT,
    CODES.ERROR_OUT_OF_WALLTIME_INTERRUPTED,
    CODES.ERROR_UNEXPECTED_PARSER_EXCEPTION,
    CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME,
    CODES.ERROR_SCHEDULER_NODE_FAILURE,
]

OVERRULED = {
    handler.__name__
    for handler in PwBaseWorkChain.get_process_handlers()
    if handler.__name__ != 'sanity_check_insufficient_bands'
}


class PwLabelWorkChain(RestartOnce, PwBaseWorkChain):
    """Run one SCF; when it does not converge, climb :data:`LADDER` before giving the frame up.

    The raised broadening is temporary: once converged, the SCF is converged again from that density at the original
    value. Only if that fails and no other rung helps is the raised one accepted, and flagged.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Add to the parent's ports what a label needs."""
        super().define(spec)
        spec.inputs['max_iterations'].default = lambda: orm.Int(MAX_RUNS)
        spec.inputs.validator = check_structure
        # a worker that is killed right after an upload leaves a run that never gets this output, and a good label
        spec.outputs['remote_folder'].required = False
        # as the parent's, in fewer steps: each is a checkpoint in the database
        spec.outline(cls.setup, while_(cls.should_run_process)(cls.run_process, cls.inspect_process), cls.results)
        spec.exit_code(
            420,
            'ERROR_LADDER_EXHAUSTED',
            message='The SCF did not converge with any measure of the ladder; the last was: {action}.',
        )
        spec.exit_code(
            421,
            'ERROR_KILLED_TWICE',
            message='Two runs with the same inputs ended without a result; the second: {said}.',
        )
        spec.exit_code(
            422,
            'ERROR_WALLTIME_TOO_SHORT',
            message='The wall time of a run is too short for one SCF iteration: raise max_wallclock_seconds.',
        )

    def setup(self) -> Any:
        """Note what this label is the answer of, for whoever asks the same again."""
        super().setup()
        self.node.base.extras.set_many(label_facts(self.inputs))
        return self.validate_kpoints()

    def run_process(self) -> Any:
        """Submit the next run; what is as it was given stays one node, as every node costs time and disk."""
        self.prepare_process()
        bare = self.ctx.inputs
        given = {name: self.inputs.pw[name] for name in ('parameters', 'settings') if name in self.inputs.pw}
        same = {name: node for name, node in given.items() if bare[name] == node.get_dict()}
        kept = {name: value for name, value in bare.items() if name != 'settings' or value}
        self.ctx.inputs = AttributeDict({**kept, **same})
        try:
            return super().run_process()
        finally:
            self.ctx.inputs = bare

    def results(self) -> None:
        """Attach the outputs of the run that is the label, and say what changed its meaning."""
        node = orm.load_node(self.ctx.accepted) if 'accepted' in self.ctx else self.ctx.children[-1]
        self.report(f'work chain completed after {self.ctx.iteration} iterations')
        self._attach_outputs(node)
        flags = find_flags(self.inputs.pw.parameters.get_dict(), node.inputs.parameters.get_dict())
        self.node.base.extras.set('label_flags', flags)
        if flags:
            self.report(f'the meaning of the label changed: {", ".join(flags)}')

    def get_process_handlers_by_priority(self) -> list[tuple[int, Any]]:
        """Return our handlers and the parent's check of the bands: the others are for relaxations, or overruled."""
        handlers = super().get_process_handlers_by_priority()
        return [(priority, each) for priority, each in handlers if each.__name__ not in OVERRULED]

    @process_handler(priority=640, exit_codes=KILLED)
    def repeat_killed(self, calculation: Any) -> ProcessHandlerReport:
        """Repeat a run that was killed once with the same inputs; what ends twice in this way is no accident."""
        if self.ctx.get('repeated', False):
            said = find_error(read_stdout(calculation)) or f'exit {calculation.exit_status}, {calculation.exit_message}'
            self.report_error_handled(calculation, 'none: the same happened before')
            return ProcessHandlerReport(True, self.exit_codes.ERROR_KILLED_TWICE.format(said=said))
        self.ctx.repeated = True
        self.report_error_handled(calculation, 'the same inputs once more')
        return ProcessHandlerReport(True)

    @process_handler(priority=630, exit_codes=[CODES.ERROR_OUT_OF_WALLTIME])
    def go_on_from_density(self, calculation: Any) -> ProcessHandlerReport:
        """After a clean stop at the wall-time limit go on from the charge density that was written.

        A limit that is too short for a single iteration would stop the next run at the same place.
        """
        if not len(read_accuracies(read_stdout(calculation))):
            self.report_error_handled(calculation, 'none: not one iteration was done within the wall time')
            return ProcessHandlerReport(True, self.exit_codes.ERROR_WALLTIME_TOO_SHORT)
        self._start_from_density(calculation)
        self.report_error_handled(calculation, 'going on from the charge density')
        return ProcessHandlerReport(True)

    @process_handler(priority=625, exit_codes=DIAGONALISATION)
    def change_diagonaliser(self, calculation: Any) -> ProcessHandlerReport:
        """Take conjugate gradients at once when a factorisation fails; when they are in use, the next rung."""
        changes = apply_rung(self.ctx.inputs.parameters, {'ELECTRONS': {'diagonalization': 'cg'}})
        return self._start_again(calculation, changes) if changes else self._climb(calculation)

    @process_handler(priority=625, exit_codes=BANDS)
    def add_bands(self, calculation: Any) -> ProcessHandlerReport:
        """Add bands when they do not converge or cannot hold the electrons, once; then the next rung."""
        changes = []
        if not self.ctx.get('bands_added', False):
            rung = {'SYSTEM': {'nbnd': LADDER[5]['SYSTEM']['nbnd']}}
            changes = apply_rung(self.ctx.inputs.parameters, rung, count_bands(calculation))
        self.ctx.bands_added = True
        return self._start_again(calculation, changes) if changes else self._climb(calculation)

    @process_handler(priority=620, exit_codes=[CODES.ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED])
    def climb_ladder(self, calculation: Any) -> ProcessHandlerReport:
        """Give an SCF that was on its way more steps from its density; else take the next measure of the ladder."""
        if self.ctx.get('degauss_asked') is None and self.ctx.get('extensions', 0) < EXTENSIONS:
            electrons = self.ctx.inputs.parameters['ELECTRONS']
            allowed = electrons.get('electron_maxstep', 100)
            missing = predict_more_steps(read_accuracies(read_stdout(calculation)), electrons.get('conv_thr', 1e-6))
            if missing <= allowed:
                self.ctx.extensions = self.ctx.get('extensions', 0) + 1
                self._start_from_density(calculation)
                action = f'{missing:.0f} more steps would do: {allowed} -> {allowed} + {allowed} from the density'
                self.report_error_handled(calculation, action)
                return ProcessHandlerReport(True)
        return self._climb(calculation)

    @process_handler(priority=620, exit_codes=[CODES.STOPPED_BY_MONITOR])
    def leave_stuck(self, calculation: Any) -> ProcessHandlerReport | None:
        """Take the next measure of the ladder for a run that our monitor ended."""
        ours = (calculation.exit_message or '').startswith(MESSAGE_PREFIX)
        return self._climb(calculation) if ours else None

    @process_handler(priority=620, exit_codes=ExitCode(0))
    def converge_at_asked_degauss(self, calculation: Any) -> ProcessHandlerReport | None:
        """After success at a raised broadening, converge again at the original one from that density."""
        restored = self._restore_degauss()
        if not restored:
            return None
        self.ctx.raised = calculation.pk
        self._start_from_density(calculation)
        self.ctx.last_action = restored[0]
        self.report(f'Action taken: {self.ctx.last_action}, from the density of PwCalculation<{calculation.pk}>')
        return ProcessHandlerReport(True)

    def _start_from_density(self, calculation: Any) -> None:
        """Let the next run start from the density of this one, from nothing where its folder is not known."""
        if 'remote_folder' in calculation.outputs:
            self.set_restart_type(RestartType.FROM_CHARGE_DENSITY, calculation.outputs.remote_folder)
        else:
            self.set_restart_type(RestartType.FROM_SCRATCH)

    def _climb(self, calculation: Any) -> ProcessHandlerReport:
        """Take the next measure of the ladder that changes something."""
        restored = self._restore_degauss()
        parameters, n_bands = self.ctx.inputs.parameters, count_bands(calculation)
        for rung in range(self.ctx.get('rung', 0), len(LADDER)):
            asked = parameters['SYSTEM'].get('degauss', 0.0)
            changes = apply_rung(parameters, LADDER[rung], n_bands)
            if changes:
                self.ctx.rung = rung + 1
                self.ctx.degauss_asked = asked if 'degauss' in LADDER[rung].get('SYSTEM', {}) else None
                return self._start_again(calculation, [*restored, *changes])
        self.ctx.rung = len(LADDER)
        return self._give_up(calculation)

    def _start_again(self, calculation: Any, changes: list[str]) -> ProcessHandlerReport:
        """Start from scratch: the density of a failed SCF is no use."""
        self.set_restart_type(RestartType.FROM_SCRATCH)
        self.ctx.last_action = ', '.join(changes)
        self.report_error_handled(calculation, f'{self.ctx.last_action}; from scratch')
        return ProcessHandlerReport(True)

    def _give_up(self, calculation: Any) -> ProcessHandlerReport:
        """Accept the result at the raised broadening, if there is one; else there is none."""
        last = self.ctx.get('last_action', 'none')
        if 'raised' in self.ctx:
            self.ctx.accepted, self.ctx.is_finished = self.ctx.raised, True
            self.report_error_handled(
                calculation, f'PwCalculation<{self.ctx.raised}> with degauss raised by {DEGAUSS_STEP} Ry is accepted'
            )
            return ProcessHandlerReport(True)
        self.report_error_handled(calculation, f'the ladder is exhausted, last measure: {last}')
        return ProcessHandlerReport(True, self.exit_codes.ERROR_LADDER_EXHAUSTED.format(action=last))

    def _restore_degauss(self) -> list[str]:
        """Put a raised broadening back to what was asked for; return what changed."""
        asked = self.ctx.get('degauss_asked')
        if asked is None:
            return []
        system = self.ctx.inputs.parameters['SYSTEM']
        raised, system['degauss'] = system['degauss'], asked
        self.ctx.degauss_asked = None
        return [f'degauss {raised} -> {asked}']


def read_stdout(calculation: orm.CalcJobNode) -> str:
    """Return what ``pw.x`` printed, as far as it was retrieved."""
    name = calculation.base.attributes.get('output_filename', '')
    try:
        return str(calculation.outputs.retrieved.base.repository.get_object_content(name))
    except (NotExistent, AttributeError, FileNotFoundError):
        return ''


def find_error(stdout: str) -> str | None:
    """Return the error that ``pw.x`` names before it stops of itself, ``None`` when it was killed."""
    found = re.search(r'Error in routine (.+?)\s*:\s*\n\s*(.+?)\s*\n', stdout)
    return f'{found[1]}: {found[2]}' if found else None


def count_bands(calculation: orm.CalcJobNode) -> int | None:
    """Return the number of bands of a run, ``None`` when its outputs do not say it."""
    try:
        found = calculation.outputs.output_parameters.get_dict().get('number_of_bands')
    except (NotExistent, AttributeError):
        return None
    return int(found) if found else None
