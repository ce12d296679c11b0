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
from ..data.teacher import TeacherModelData
from ..science.config import ActiveLearningThresholds, LammpsConfig, MdConfig
from ..science.md import script
from ..science.md.soft_start import PREVIOUS_FOLDER
from ..science.student import read_canary
from .base import DEFAULT_RESOURCES, ONE_THREAD, add_check, write_teacher
from .lammps_checks import soft_limit, validate_inputs, validate_until_step

# dumps are text of 17 digits: less than half of it travels; one that a kill left as it was is read as it is
PACK_DUMPS = 'for dump in *.dump; do [ -e "$dump" ] && gzip -1 -f "$dump"; done; true'


class LammpsCalculation(CalcJob):
    """Runs MD from a structure or a restart file to a step, a halt or the wall limit."""

    CACHE_VERSION = 2

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
        spec.input('teacher', valid_type=TeacherModelData, required=False,
                   help="Committee whose doubts halt the MD, where `thresholds.measure` is 'teacher'.")  # fmt: skip
        spec.input('seed', valid_type=orm.Int, help='Seed of velocities and of random forces.')
        spec.input('until_step', valid_type=orm.Int, required=False, validator=validate_until_step,
                   help='Absolute step that ends this run before the goal; ramps stay over `n_steps`.')  # fmt: skip
        spec.input('soft_start', valid_type=orm.Bool, default=lambda: orm.Bool(False),
                   help='Let the forces in gently, see `md.soft_start`: after a swap or a jolt.')  # fmt: skip
        spec.input('previous_potential', valid_type=AcePotentialData, required=False,
                   help='That of the MD so far, where `potential` is new; knows all its elements.')  # fmt: skip
        spec.input('settings', valid_type=orm.Dict, default=lambda: orm.Dict({}),
                   help='How the program is called, see `LammpsConfig`: flags, files to keep.')  # fmt: skip
        add_check(spec, validate_inputs)
        cls._define_outputs(spec)
        cls._define_exit_codes(spec)

    @classmethod
    def _define_outputs(cls, spec: Any) -> None:
        spec.output('outcome', valid_type=orm.Str, required=False,
                    help='`goal`, `stride`, `halted`, `danger`, `overshoot`, `walltime`, `lost_atoms`, '
                    '`non_finite`.')  # fmt: skip
        spec.output('summary', valid_type=orm.Dict, required=False, help='Steps, halt, checks, speed.')
        spec.output('frames', valid_type=AtomicDatasetData, required=False,
                    help='Frames before the end with γ, in time order; steps: `summary["frame_steps"]`.')  # fmt: skip
        spec.output('restart', valid_type=orm.SinglefileData, required=False, help='Restart file of the last step.')
        spec.output('restart_previous', valid_type=orm.SinglefileData, required=False,
                    help='Newest restart file before the excursion that ended the segment.')  # fmt: skip
        spec.output('thermo', valid_type=orm.ArrayData, required=False,
                    help='Columns of the thermodynamic table; no average over rows with `soft_start` 1.')  # fmt: skip
        spec.output('gamma', valid_type=orm.ArrayData, required=False,
                    help='Every check: `step`, `max_gamma`, `n_over_add`, `n_over_call`, `n_over_danger`.')  # fmt: skip
        spec.output('uncertainty_map', valid_type=orm.ArrayData, required=False,
                    help='γ of the frames against temperature, position and element.')  # fmt: skip
        spec.output('boundary', valid_type=orm.ArrayData, required=False,
                    help='`first_` and `last_` positions, velocities, cell and step, atoms sorted by id.')  # fmt: skip

    @classmethod
    def _define_exit_codes(cls, spec: Any) -> None:
        codes = {
            302: ('ERROR_NO_LOG', 'The program left no `log.lammps`: it was killed or never started: {message}'),
            303: ('ERROR_UNREADABLE_OUTPUT', 'A file that LAMMPS should have left is missing or cut off: {message}'),
            310: ('ERROR_REFUSED_BY_LAMMPS', 'LAMMPS refused the script or a file: {message}'),
            311: (
                'ERROR_CANARY_DIFFERS',
                'This program has the known frame wrong: {message}: pair style, ML-PACE library, active set and '
                'baseline do not match.',
            ),
            312: (
                'ERROR_GRADES_ARE_ZERO',
                'Every γ of {count} checks is 0: pair style and ML-PACE library do not match.',
            ),
            400: ('ERROR_KILLED', 'LAMMPS was killed; frames and restart files that were left are attached.'),
            401: ('ERROR_CRASHED', 'LAMMPS ended with an error after step {step}: {message}'),
            402: ('ERROR_DISK_FULL', 'The disk was full after step {step}; what was whole is attached: {message}'),
            410: ('ERROR_LOST_ATOMS', 'Atoms left the box before a check saw it: {message}'),
            411: ('ERROR_NON_FINITE', 'Positions or energy became NaN before a check saw it: {message}'),
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
        settings = LammpsConfig.model_validate(self.inputs.settings.get_dict())
        self.inputs.potential.write_to(root)
        segment = self._segment(root)
        self._write_start(root, segment)
        copies = [str(path.relative_to(root)) for path in root.rglob('*') if path.is_file()]
        (root / script.INPUT_FILE).write_text(script.write_script(segment))
        run = CodeInfo()
        run.code_uuid = self.inputs.code.uuid
        run.cmdline_params = ['-in', script.INPUT_FILE, '-log', script.LOG_FILE, *settings.cmdline]
        run.stdout_name = self.options.output_filename
        run.join_files = True
        info = CalcInfo()
        info.codes_info = [run]
        info.append_text = PACK_DUMPS
        info.provenance_exclude_list = copies
        logs = [script.LOG_FILE, script.CHECK_LOG, self.options.output_filename]
        info.retrieve_list = [*logs, *settings.additional_retrieve_list]
        restarts = [script.END_RESTART, script.BEGIN_RESTART, *script.ALTERNATING_RESTARTS]
        info.retrieve_temporary_list = [*restarts, ('*.dump', '.', 0), ('*.dump.gz', '.', 0)]
        return info

    def _write_start(self, root: Path, segment: script.Segment) -> None:
        if segment.from_restart:
            content = self.inputs.restart.get_content(mode='rb')
            (root / script.START_RESTART).write_bytes(content)
        else:
            atoms = next(self.inputs.structure.iter_ase())
            script.write_structure(root / script.DATA_FILE, atoms, segment.elements)
        if segment.previous_pair_lines:
            write_previous(root / PREVIOUS_FOLDER, self.inputs.previous_potential)
        if segment.canary is not None:
            script.write_canary(root / script.CANARY_DATA, segment.canary, segment.elements)

    def _segment(self, root: Path) -> script.Segment:
        limit = self.inputs.metadata.options.get('max_wallclock_seconds')
        structure, potential = self.inputs.get('structure'), self.inputs.potential
        previous = self.inputs.get('previous_potential')
        return script.Segment(
            md=MdConfig.model_validate(self.inputs.md.get_dict()),
            thresholds=ActiveLearningThresholds.model_validate(self.inputs.thresholds.get_dict()),
            elements=potential.elements,
            pair_lines=potential.pair_lines(),
            previous_pair_lines=()
            if previous is None
            else previous.pair_lines(potential.elements, extrapolation=False, folder=f'{PREVIOUS_FOLDER}/'),
            swapped=previous is not None,
            seed=self.inputs.seed.value,
            from_restart='restart' in self.inputs,
            soft_start=self.inputs.soft_start.value,
            pbc=(True, True, True) if structure is None else tuple(next(structure.iter_ase()).pbc),
            wall_seconds=None if limit is None else soft_limit(limit),
            canary=read_canary(root),
            teacher_files=[] if not self._is_teacher_asked() else write_teacher(self.inputs.teacher, root),
            until_step=None if 'until_step' not in self.inputs else self.inputs.until_step.value,
        )

    def _is_teacher_asked(self) -> bool:
        return bool(self.inputs.thresholds.get_dict().get('measure') == 'teacher')


def write_previous(folder: Path, potential: AcePotentialData) -> None:
    """Write what the ramp needs of the old potential: LAMMPS' plain ``pace`` reads the C-tilde file only."""
    from ..science.ace import AcePotential

    potential.write_to(folder)
    if not (folder / 'potential.yace').is_file():
        AcePotential.read(folder / 'potential.yaml').write_yace(folder / 'potential.yace')
