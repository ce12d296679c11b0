"""One static SCF that recovers by a ladder of measures, each reported from what to what."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessHandlerReport, process_handler
from aiida_quantumespresso.calculations.pw import PwCalculation
from aiida_quantumespresso.common.types import RestartType
from aiida_quantumespresso.workflows.pw.base import PwBaseWorkChain

DEGAUSS_STEP = 0.02  # Ry
MORE_STEPS = 1.5  # gentler mixing needs more iterations
# what each rung sets; numbers replace, and a rung that changes nothing is skipped
LADDER: tuple[dict[str, dict[str, Any]], ...] = (
    {'ELECTRONS': {'mixing_beta': 0.3}},
    {'ELECTRONS': {'mixing_beta': 0.1}},
    {'ELECTRONS': {'mixing_mode': 'local-TF', 'mixing_beta': 0.3}},
    {'SYSTEM': {'degauss': DEGAUSS_STEP}},
    {'ELECTRONS': {'diagonalization': 'cg'}},
)
DEFAULTS = {'mixing_beta': 0.7, 'mixing_mode': 'plain', 'diagonalization': 'david', 'degauss': 0.0}


class PwLabelWorkChain(PwBaseWorkChain):
    """Run one SCF; when it does not converge, climb :data:`LADDER` before giving the frame up.

    The raised broadening is temporary: once converged, the SCF is converged again from that density at the original
    value, so that every label of a dataset means the same.
    """

    @classmethod
    def define(cls, spec: Any) -> None:
        """Add to the parent's ports what a label needs."""
        super().define(spec)
        spec.inputs['max_iterations'].default = lambda: orm.Int(len(LADDER) + 3)
        spec.exit_code(
            420,
            'ERROR_LADDER_EXHAUSTED',
            message='The SCF did not converge with any measure of the ladder; the last was: {action}.',
        )

    @process_handler(
        priority=620,
        exit_codes=[PwCalculation.exit_codes.ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED],
    )
    def climb_ladder(self, calculation: Any) -> ProcessHandlerReport:
        """Take the next measure of the ladder and start from scratch: the density of a failed SCF is no use."""
        parameters = self.ctx.inputs.parameters
        restored = self._restore_degauss(parameters)
        rung = self.ctx.get('rung', 0)
        while rung < len(LADDER):
            changes = apply_rung(parameters, LADDER[rung])
            rung += 1
            if changes:
                break
        else:
            last = self.ctx.get('last_action', 'none')
            self.report_error_handled(calculation, f'the ladder is exhausted, last measure: {last}')
            return ProcessHandlerReport(True, self.exit_codes.ERROR_LADDER_EXHAUSTED.format(action=last))
        self.ctx.rung = rung
        if 'degauss' in LADDER[rung - 1].get('SYSTEM', {}):
            self.ctx.degauss_asked = round(parameters['SYSTEM']['degauss'] - DEGAUSS_STEP, 10)
        self.set_restart_type(RestartType.FROM_SCRATCH)
        self.ctx.last_action = ', '.join([*restored, *changes])
        self.report_error_handled(calculation, f'{self.ctx.last_action}; from scratch')
        return ProcessHandlerReport(True)

    @process_handler(priority=620, exit_codes=ExitCode(0))
    def converge_at_asked_degauss(self, calculation: Any) -> ProcessHandlerReport | None:
        """After success at a raised broadening, converge again at the original one from that density."""
        parameters = self.ctx.inputs.parameters
        restored = self._restore_degauss(parameters)
        if not restored:
            return None
        self.set_restart_type(RestartType.FROM_CHARGE_DENSITY, calculation.outputs.remote_folder)
        self.ctx.last_action = restored[0]
        self.report(f'Action taken: {self.ctx.last_action}, from the density of PwCalculation<{calculation.pk}>')
        return ProcessHandlerReport(True)

    def _restore_degauss(self, parameters: dict[str, Any]) -> list[str]:
        """Put a raised broadening back to what was asked for; return what changed."""
        asked = self.ctx.get('degauss_asked')
        if asked is None:
            return []
        raised = parameters['SYSTEM']['degauss']
        parameters['SYSTEM']['degauss'] = asked
        self.ctx.degauss_asked = None
        return [f'degauss {raised} -> {asked}']


def apply_rung(parameters: dict[str, Any], rung: dict[str, dict[str, Any]]) -> list[str]:
    """Change ``parameters`` in place as ``rung`` says; return each change as ``name old -> new``.

    ``mixing_beta`` is only lowered, unless the mixing mode changes with it; ``degauss`` is raised by the rung's value.
    Gentler mixing gets ``MORE_STEPS`` times the iterations. Nothing to change: an empty list.
    """
    changes = []
    for namelist, values in rung.items():
        section = parameters.setdefault(namelist, {})
        for name, value in values.items():
            old = section.get(name, DEFAULTS[name])
            new = round(old + value, 10) if name == 'degauss' else value
            if new == old or (name == 'mixing_beta' and new > old and 'mixing_mode' not in values):
                continue
            section[name] = new
            changes.append(f'{name} {old} -> {new}')
    if changes and 'mixing_beta' in rung.get('ELECTRONS', {}):
        old = parameters['ELECTRONS'].get('electron_maxstep', 100)
        parameters['ELECTRONS']['electron_maxstep'] = int(old * MORE_STEPS)
        changes.append(f'electron_maxstep {old} -> {int(old * MORE_STEPS)}')
    return changes
