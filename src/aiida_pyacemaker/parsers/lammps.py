"""What one segment of MD leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms

from ..data.dataset import AtomicDatasetData
from ..science.ace import AcePotential
from ..science.config import ActiveLearningThresholds, MdConfig
from ..science.md import judge_canary, script
from ..science.md.dump import Snapshot, read_dump
from ..science.md.log import LogRecord, read_checks, read_log
from ..science.md.segment import SegmentRecord, read_segment
from ..science.md.uncertainty_map import map_uncertainty
from ..science.student import CANARY_FILE, read_canary
from .base import ProgramParser, one_line, plain_json

THERMO_NAMES = {
    'Step': 'step', 'Temp': 'temperature_K', 'PotEng': 'potential_energy_eV', 'KinEng': 'kinetic_energy_eV',
    'TotEng': 'total_energy_eV', 'Press': 'pressure_bar', 'Pxx': 'pressure_xx_bar', 'Pyy': 'pressure_yy_bar',
    'Pzz': 'pressure_zz_bar', 'Pxy': 'pressure_xy_bar', 'Pxz': 'pressure_xz_bar', 'Pyz': 'pressure_yz_bar',
    'Volume': 'volume_A3',
}  # fmt: skip


class LammpsParser(ProgramParser):
    """Reads log, checks, frames and restart files; how the run ended is the output `outcome`, not an exit code."""

    CACHE_VERSION = 3

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Attach whatever is there, also of a run that failed."""
        folder = Path(retrieved_temporary_folder or '.')
        text = self._text(script.LOG_FILE)
        if not text:
            return self._scheduler() or self.exit_codes.ERROR_NO_LOG.format(message=self._last_words())
        log = read_log(text, self._text(self.node.get_option('output_filename')))
        fault, knows_free_atoms = self._judge_canary(log)
        if fault:
            return self.exit_codes.ERROR_CANARY_DIFFERS.format(message=fault)
        if log.failure == 'refused':
            return self.exit_codes.ERROR_REFUSED_BY_LAMMPS.format(message=one_line(log.error))
        checks = read_checks(self._text(script.CHECK_LOG))
        record = read_segment(folder, log, checks, self._plan())
        if not knows_free_atoms and len(record.frames):
            log = replace(log, thermo=add_energy(log.thermo, self._free_atoms(record.frames.atoms(0))))
        self._attach(folder, log, checks, record)
        return self._judge(folder, log, record)

    def _judge_canary(self, log: LogRecord) -> tuple[str | None, bool]:
        """Return what is wrong with the known frame, and whether the program knows the energies of free atoms."""
        if not log.canary:
            return None, True
        return judge_canary(log.canary, self._free_atoms_of_canary)

    def _free_atoms_of_canary(self) -> float:
        with self.node.inputs.potential.base.repository.as_path(CANARY_FILE) as path:
            canary = read_canary(path.parent)
        return 0.0 if canary is None else self._free_atoms(canary.atoms)

    def _free_atoms(self, atoms: Atoms) -> float:
        """Return the sum of the potential's reference energies over ``atoms``, eV."""
        with self.node.inputs.potential.base.repository.as_path('potential.yaml') as path:
            energies = AcePotential.read(path).reference_energies
        return sum(energies[symbol] for symbol in atoms.symbols)

    def _plan(self) -> script.Plan:
        inputs = self.node.inputs
        return script.Plan(
            md=MdConfig.model_validate(inputs.md.get_dict()),
            thresholds=ActiveLearningThresholds.model_validate(inputs.thresholds.get_dict()),
            elements=inputs.potential.elements,
            until_step=inputs.until_step.value if 'until_step' in inputs else None,
            swapped='previous_potential' in inputs,
        )

    def _attach(self, folder: Path, log: LogRecord, checks: dict[str, Any], record: SegmentRecord) -> None:
        if len(record.frames):
            self.out('frames', AtomicDatasetData.from_frames(record.frames))
            self.out('uncertainty_map', orm.ArrayData(_map_uncertainty(record, log)))
        if log.thermo:
            names = {name: column for name, column in log.thermo.items() if name in THERMO_NAMES}
            columns = {THERMO_NAMES[name]: column for name, column in names.items()}
            self.out('thermo', orm.ArrayData({**columns, 'soft_start': tag_soft_start(log)}))
        self.out('gamma', orm.ArrayData(checks))
        if record.restart_previous is not None:
            previous = folder / record.restart_previous
            self.out('restart_previous', orm.SinglefileData(previous, filename='previous.restart'))
        if record.outcome is not None:
            self.out('outcome', orm.Str(record.outcome))
        self.out('summary', orm.Dict(plain_json(record.summary)))

    def _judge(self, folder: Path, log: LogRecord, record: SegmentRecord) -> ExitCode | None:
        """Return the exit code; attach the boundary of a run that reached its end."""
        if log.failure == 'lost_atoms':
            return self.exit_codes.ERROR_LOST_ATOMS.format(message=one_line(log.error))
        if log.failure == 'non_finite':
            return self.exit_codes.ERROR_NON_FINITE.format(message=one_line(log.error))
        if log.failure == 'disk_full':
            return self.exit_codes.ERROR_DISK_FULL.format(step=log.last_step, message=one_line(log.error))
        if log.failure == 'crashed':
            return self.exit_codes.ERROR_CRASHED.format(step=log.last_step, message=one_line(log.error))
        if record.outcome is None:
            return self._scheduler() or self.exit_codes.ERROR_KILLED
        if record.summary['n_checks'] and record.summary['largest_gamma'] == 0.0:
            return self.exit_codes.ERROR_GRADES_ARE_ZERO.format(count=record.summary['n_checks'])
        try:
            first, last = (read_dump(folder / name)[0] for name in (script.FIRST_DUMP, script.LAST_DUMP))
            self.out('boundary', orm.ArrayData({**_boundary('first', first), **_boundary('last', last)}))
            self.out('restart', orm.SinglefileData(folder / script.END_RESTART, filename='end.restart'))
        except (OSError, ValueError) as error:
            return self.exit_codes.ERROR_UNREADABLE_OUTPUT.format(message=one_line(str(error)))
        return None

    def _scheduler(self) -> ExitCode | None:
        """Return what the scheduler said about the job, if anything."""
        if self.node.exit_status is None:
            return None
        return ExitCode(self.node.exit_status, self.node.exit_message, invalidates_cache=True)


def _map_uncertainty(record: SegmentRecord, log: LogRecord) -> dict[str, Any]:
    steps = record.summary['frame_steps']
    known = dict(zip(log.thermo.get('Step', ()), log.thermo.get('Temp', ()), strict=True))
    return map_uncertainty(record.frames, steps, [known.get(float(step), np.nan) for step in steps])


def tag_soft_start(log: LogRecord) -> Any:
    """Return 1 for the rows of the table that no average may hold: those of the soft start; else 0."""
    steps = log.thermo['Step']
    if log.soft_start is None:
        return np.zeros(len(steps))
    _, first, until = log.soft_start
    return ((steps > first) & (steps <= until)).astype(float)


def add_energy(thermo: dict[str, Any], energy_eV: float) -> dict[str, Any]:
    """Return the table with ``energy_eV`` added to the potential and the total energy."""
    return {name: column + energy_eV * (name in ('PotEng', 'TotEng')) for name, column in thermo.items()}


def _boundary(name: str, snapshot: Snapshot) -> dict[str, Any]:
    return {
        f'{name}_positions': snapshot.vectors('x', 'y', 'z'),
        f'{name}_velocities': snapshot.vectors('vx', 'vy', 'vz'),
        f'{name}_cell': snapshot.cell,
        f'{name}_step': np.array([snapshot.step]),
    }
