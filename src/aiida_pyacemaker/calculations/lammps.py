"""One segment of MD, by ``lmp`` with ML-PACE or by ``pyacemaker-lmp``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob

from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..science.config import ActiveLearningThresholds, MdConfig, Settings, check_settings
from ..science.md import script
from .base import DEFAULT_RESOURCES, ONE_THREAD

# the last part of the wall limit is kept for the restart file and the last frame
WALL_FRACTION, WALL_RESERVE_SECONDS = 0.95, 60.0


class LammpsCalculation(CalcJob):
    """Runs MD from a structure or a restart file to a step, a halt or the wall limit."""

    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports and exit codes."""
        super().define(spec)
        options = spec.inputs['metadata']['options']
        options['parser_name'].default = 'pyacemaker.lammps'
        options['resources'].default = lambda: dict(DEFAULT_RESOURCES)
        options['withmpi'].default = False
        options['environment_variables'].default = lambda: dict(ONE_THREAD)
        options['output_filename'].default = script.SCREEN_FILE
        spec.input('potential', valid_type=AcePotentialData, help='Potential with its active set.')
        spec.input('structure', valid_type=AtomicDatasetData, required=False, help='One frame; MD starts at step 0.')
        spec.input('restart', valid_type=orm.SinglefileData, required=False, help='LAMMPS restart file to go on from.')
        spec.input('md', valid_type=orm.Dict, help='Settings, see `MdConfig`; `n_steps` is the absolute goal step.')
        spec.input('thresholds', valid_type=orm.Dict, help='Settings, see `ActiveLearningThresholds`.')
        spec.input('seed', valid_type=orm.Int, help='Seed of velocities and of random forces.')
        spec.input('soft_start', valid_type=orm.Bool, default=lambda: orm.Bool(False),
                   help='Damp the first steps strongly, after the potential was swapped.')  # fmt: skip
        spec.inputs.validator = validate_inputs
        spec.output('outcome', valid_type=orm.Str, required=False,
                    help='`goal`, `halted`, `danger`, `walltime`, `lost_atoms` or `non_finite`.')  # fmt: skip
        spec.output('summary', valid_type=orm.Dict, required=False, help='Steps, halt, checks, speed.')
        spec.output('frames', valid_type=AtomicDatasetData, required=False,
                    help='Frames before the end with γ, in time order; steps: `summary["frame_steps"]`.')  # fmt: skip
        spec.output('restart', valid_type=orm.SinglefileData, required=False, help='Restart file of the last step.')
        spec.output('restart_previous', valid_type=orm.SinglefileData, required=False,
                    help='Newest restart file before the excursion that ended the segment.')  # fmt: skip
        spec.output('thermo', valid_type=orm.ArrayData, required=False, help='Columns of the thermodynamic table.')
        spec.output('gamma', valid_type=orm.ArrayData, required=False,
                    help='Every check: `step`, `max_gamma`, `n_over_add`, `n_over_call`, `n_over_danger`.')  # fmt: skip
        spec.output('boundary', valid_type=orm.ArrayData, required=False,
                    help='`first_` and `last_` positions, velocities, cell and step, atoms sorted by id.')  # fmt: skip
        cls._define_exit_codes(spec)

    @classmethod
    def _define_exit_codes(cls, spec: Any) -> None:
        codes = {
            302: ('ERROR_NO_LOG', 'The program left no `log.lammps`: it was killed or never started.'),
            303: ('ERROR_UNREADABLE_OUTPUT', 'A file that LAMMPS should have left is missing or cut off: {message}'),
            310: ('ERROR_REFUSED_BY_LAMMPS', 'LAMMPS refused the script or a file: {message}'),
            400: ('ERROR_KILLED', 'LAMMPS was killed; frames and restart files that were left are attached.'),
            410: ('ERROR_LOST_ATOMS', 'Atoms left the box before a check saw it: {message}'),
            411: ('ERROR_NON_FINITE', 'Positions or energy became NaN before a check saw it: {message}'),
            412: (
                'ERROR_GRADES_ARE_ZERO',
                'Every γ of {count} checks is 0: pair style and ML-PACE library do not match.',
            ),
        }
        for status, (name, message) in codes.items():
            spec.exit_code(status, name, invalidates_cache=True, message=message)

    @classmethod
    def is_valid_cache(cls, node: orm.ProcessNode) -> bool:
        """Serve only successful runs from the cache."""
        return bool(super().is_valid_cache(node) and node.is_finished_ok)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write script, structure and potential; files copied from nodes are kept out of the repository."""
        root = Path(folder.abspath)
        self.inputs.potential.write_to(root)
        self._write_start(root)
        copies = [path.name for path in root.iterdir() if path.is_file()]
        (root / script.INPUT_FILE).write_text(script.write_script(self._segment()))
        run = CodeInfo()
        run.code_uuid = self.inputs.code.uuid
        run.cmdline_params = ['-in', script.INPUT_FILE, '-log', script.LOG_FILE]
        run.stdout_name = self.options.output_filename
        run.join_files = True
        info = CalcInfo()
        info.codes_info = [run]
        info.provenance_exclude_list = copies
        info.retrieve_list = [script.LOG_FILE, script.CHECK_LOG, self.options.output_filename]
        info.retrieve_temporary_list = [
            script.FIRST_DUMP,
            script.LAST_DUMP,
            script.END_RESTART,
            script.BEGIN_RESTART,
            *script.ALTERNATING_RESTARTS,
            (script.RING_PATTERN, '.', 0),
            (script.COARSE_PATTERN, '.', 0),
        ]
        return info

    def _write_start(self, root: Path) -> None:
        if 'restart' in self.inputs:
            content = self.inputs.restart.get_content(mode='rb')
            (root / script.START_RESTART).write_bytes(content)
        else:
            atoms = next(self.inputs.structure.iter_ase())
            script.write_structure(root / script.DATA_FILE, atoms, self.inputs.potential.elements)

    def _segment(self) -> script.Segment:
        limit = self.inputs.metadata.options.get('max_wallclock_seconds')
        structure = self.inputs.get('structure')
        return script.Segment(
            md=MdConfig.model_validate(self.inputs.md.get_dict()),
            thresholds=ActiveLearningThresholds.model_validate(self.inputs.thresholds.get_dict()),
            elements=self.inputs.potential.elements,
            pair_lines=self.inputs.potential.pair_lines(),
            seed=self.inputs.seed.value,
            from_restart='restart' in self.inputs,
            soft_start=self.inputs.soft_start.value,
            pbc=(True, True, True) if structure is None else tuple(next(structure.iter_ase()).pbc),
            wall_seconds=None if limit is None else max(WALL_FRACTION * limit - WALL_RESERVE_SECONDS, 0.5 * limit),
        )


def validate_start(inputs: Any) -> str | None:
    """Return what is wrong with where MD starts: one of `structure` and `restart`, one frame, known elements."""
    given = [port for port in ('structure', 'restart') if inputs.get(port) is not None]
    if len(given) != 1:
        return f'structure, restart: {len(given)} given, expected exactly one'
    if 'structure' in given and len(inputs['structure']) != 1:
        return f'structure holds {len(inputs["structure"])} frames, expected 1'
    if 'structure' in given and 'potential' in inputs:
        try:
            inputs['potential'].check_elements(inputs['structure'].elements)
        except ValueError as error:
            return f'structure: {error}'
    return None


def validate_settings(inputs: Any) -> str | None:
    """Return what is wrong with the settings of MD and thresholds, alone and together."""
    models: dict[str, type[Settings]] = {'md': MdConfig, 'thresholds': ActiveLearningThresholds}
    values = {port: inputs[port].get_dict() for port in models}
    wrong = [message for port in models if (message := check_settings(models[port], values[port], port))]
    if wrong:
        return '; '.join(wrong)
    return script.check_intervals(
        MdConfig.model_validate(values['md']), ActiveLearningThresholds.model_validate(values['thresholds'])
    )


def validate_inputs(inputs: Any, _: Any) -> str | None:
    """Validate the whole namespace; ports that are not there (exposed elsewhere) are not judged."""
    if any(port not in inputs for port in ('potential', 'md', 'thresholds')):
        return None
    return validate_start(inputs) or validate_settings(inputs)
