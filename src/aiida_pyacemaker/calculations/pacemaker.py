"""A student from labelled data by pacemaker."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob

from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..science.config import FitConfig, PacemakerConfig, Settings
from ..science.frames import Frames
from ..science.pacemaker.input_file import DATA_FILE, INPUT_FILE, START_FILE
from ..science.pacemaker.log import LOG_FILE, METRICS_FILE, OUTPUT_FILE
from .base import DEFAULT_RESOURCES, add_check, add_seed, task_settings_validator

SCREEN_FILE = 'pacemaker.out'
ENVIRONMENT = {'TF_CPP_MIN_LOG_LEVEL': '3', 'OMP_NUM_THREADS': '1'}
# the potential as it was last written, best first; the first is rewritten at each iteration and may be cut off
INTERIM_FILES = ('interim_potential_0.yaml', 'interim_potential_best_cycle.yaml')
LADDER_PATTERN = 'interim_potential_ladder_step_*.yaml'
SETTINGS: dict[str, type[Settings] | None] = {
    'elements': None, 'fit': FitConfig, 'pacemaker': PacemakerConfig, 'factors': None, 'own_zero': None,
}  # fmt: skip
EXIT_CODES = {
    302: ('ERROR_NO_LOG', 'The program left no log: it was killed at once or never started: {message}'),
    303: ('ERROR_TRUNCATED_POTENTIAL', 'The program ended, but its potential is missing or cut off: {message}'),
    310: ('ERROR_REFUSED_BY_PACEMAKER', 'The program refused its input: {message}'),
    311: ('ERROR_DATASET_UNREADABLE', 'The program cannot read the data set: {message}'),
    312: ('ERROR_NO_TENSORFLOW', 'TensorFlow or TensorPotential is missing where pacemaker runs: {message}'),
    400: ('ERROR_OUT_OF_WALLTIME', 'The wall time ended the fit; the potential it had is attached if it is whole.'),
    401: ('ERROR_KILLED', 'The fit was killed; the potential it had is attached if it is whole.'),
    410: ('ERROR_NOT_FINITE', 'The loss or the coefficients became NaN or infinite.'),
    411: ('ERROR_DIVERGED', 'The loss is {loss:.3g}, more than {factor:g} times what it was at first.'),
    412: ('ERROR_NO_FIT', 'The program ended well without a single iteration: {message}.'),
    413: ('ERROR_OUT_OF_MEMORY', 'The memory did not do; the potential it had is attached if it is whole.'),
    414: ('ERROR_TOO_FEW_ENVIRONMENTS', 'There is no active set for the fitted potential: {message}'),
    501: ('USABLE_BUT_NOT_CONVERGED', 'The potential is usable, but the minimiser gave up: {message}'),
}


class PacemakerCalculation(CalcJob):
    """Runs ``pacemaker`` on labelled frames, from nothing or from the potential of an earlier fit."""

    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare ports and exit codes."""
        super().define(spec)
        options = spec.inputs['metadata']['options']
        options['parser_name'].default = 'pyacemaker.pacemaker'
        options['resources'].default = lambda: dict(DEFAULT_RESOURCES)
        options['withmpi'].default = False
        options['environment_variables'].default = lambda: dict(ENVIRONMENT)
        options['output_filename'].default = SCREEN_FILE
        spec.input_namespace('datasets', valid_type=AtomicDatasetData, dynamic=True,
                             help='Labelled data by source: new data, and earlier data to replay.')  # fmt: skip
        spec.input_namespace('rows', valid_type=orm.ArrayData, dynamic=True, required=False,
                             help='Array `indices` by source: the rows of it to use; default: all.')  # fmt: skip
        spec.input('replay', valid_type=orm.ArrayData, required=False,
                   help='One array of rows for each source that is replayed in part; it wins over `rows`.')  # fmt: skip
        spec.input('potential', valid_type=AcePotentialData, required=False,
                   help='Potential to fit on: coefficients, baseline and reference energies.')  # fmt: skip
        spec.input('reference', valid_type=orm.Dict, required=False,
                   help='Baseline, reference energies and bond length of a first fit.')  # fmt: skip
        spec.input('start', valid_type=orm.SinglefileData, required=False,
                   help='What a fit that was cut off had reached: coefficients to go on from.')  # fmt: skip
        spec.input('held_out', valid_type=AtomicDatasetData, required=False,
                   help='Labelled frames that are only tested on.')  # fmt: skip
        spec.input('settings', valid_type=orm.Dict, validator=task_settings_validator(SETTINGS),
                   help=f'Settings; keys: {", ".join(SETTINGS)}.')  # fmt: skip
        add_seed(spec)
        add_check(spec, validate_inputs)
        spec.output('potential', valid_type=AcePotentialData, required=False,
                    help='The fitted potential with tables for LAMMPS, active set and baseline.')  # fmt: skip
        spec.output('metrics', valid_type=orm.Dict, required=False,
                    help='Errors by source and held out, grades, what the minimiser said, versions.')  # fmt: skip
        spec.output('learning_curve', valid_type=orm.ArrayData, required=False,
                    help='Columns of `metrics.txt` by iteration: eV/atom, eV/Å; errors are not weighted.')  # fmt: skip
        spec.output('interim', valid_type=orm.SinglefileData, required=False,
                    help='Whole potential that a fit had when it was cut off: `start` of the next.')  # fmt: skip
        for status, (name, message) in EXIT_CODES.items():
            spec.exit_code(status, name, invalidates_cache=status < 500, message=message)

    @classmethod
    def is_valid_cache(cls, node: orm.ProcessNode) -> bool:
        """Serve only successful runs from the cache."""
        return bool(super().is_valid_cache(node) and node.is_finished_ok)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write ``input.yaml``, data set and start; what is copied from nodes is kept out of the repository."""
        from ..science.pacemaker import write_job

        root = Path(folder.abspath)
        with tempfile.TemporaryDirectory() as scratch:
            start = write_beginning(self.inputs, Path(scratch))
            write_job(read_job(self.inputs), root, start=start, seed=self.inputs.seed.value)
        run = CodeInfo()
        run.code_uuid = self.inputs.code.uuid
        run.cmdline_params = [INPUT_FILE, '--no-predict']
        run.stdout_name = self.options.output_filename
        run.join_files = True
        info = CalcInfo()
        info.codes_info = [run]
        info.retrieve_list = [LOG_FILE, METRICS_FILE, self.options.output_filename]
        info.retrieve_temporary_list = [OUTPUT_FILE, *INTERIM_FILES, (LADDER_PATTERN, '.', 0)]
        info.provenance_exclude_list = [DATA_FILE, START_FILE]
        return info


def write_beginning(inputs: Mapping[str, Any], folder: Path) -> Path | None:
    """Write the potential that the fit begins with into ``folder``; return its path, ``None`` for a new one."""
    if 'start' in inputs:
        path = folder / 'interim.yaml'
        path.write_bytes(inputs['start'].get_content(mode='rb'))
        return path
    if 'potential' in inputs:
        inputs['potential'].write_to(folder)
        return folder / 'potential.yaml'
    return None


def read_job(inputs: Mapping[str, Any]) -> Any:
    """Return the input nodes as a :class:`.FitJob`."""
    from ..science.pacemaker import Reference, make_job
    from ..science.student import load_student

    frames = {name: chosen_frames(inputs, name) for name in inputs['datasets']}
    reference = Reference.from_json(inputs['reference'].get_dict()) if 'reference' in inputs else None
    with tempfile.TemporaryDirectory() as scratch:
        previous = None
        if 'potential' in inputs:
            inputs['potential'].write_to(scratch)
            previous = load_student(scratch)
    return make_job(inputs['settings'].get_dict(), frames, reference, previous)


def chosen_frames(inputs: Mapping[str, Any], name: str) -> Frames:
    """Return the frames of one source that count; ``ValueError`` for a row that does not exist."""
    frames = inputs['datasets'][name].get_frames()
    rows = None
    if 'replay' in inputs and name in inputs['replay'].get_arraynames():
        rows = inputs['replay'].get_array(name)
    elif name in (inputs.get('rows') or {}):
        rows = inputs['rows'][name].get_array('indices')
    if rows is None:
        return frames
    if len(rows) and not 0 <= np.min(rows) <= np.max(rows) < len(frames):
        raise ValueError(f'rows from {np.min(rows)} to {np.max(rows)}, allowed: 0 to {len(frames) - 1}')
    return frames.select(rows)


def validate_inputs(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Validate the whole namespace; ports that are not there (exposed elsewhere) are not judged."""
    if any(port not in inputs for port in ('datasets', 'settings')):
        return None
    checks = (_check_names, _check_settings, _check_beginning, _check_labels)
    return next((message for check in checks if (message := check(inputs))), None)


def _check_names(inputs: Mapping[str, Any]) -> str | None:
    datasets = set(inputs['datasets'])
    if not datasets:
        return 'datasets: is empty, expected at least one source of labels'
    settings = inputs['settings'].get_dict()
    named = {'rows': inputs.get('rows') or (), 'settings.factors': settings.get('factors') or ()}
    if 'replay' in inputs:
        named['replay'] = inputs['replay'].get_arraynames()
    for port, names in named.items():
        extra = sorted(set(names) - datasets)
        if extra:
            return f'{port}: {", ".join(extra)} is no dataset; allowed: {", ".join(sorted(datasets))}'
    elements = settings.get('elements') or ()
    if not elements:
        return 'settings.elements: not given, expected chemical symbols'
    for name, node in inputs['datasets'].items():
        unknown = sorted(set(node.elements) - set(elements))
        if unknown:
            return f'datasets.{name}: holds {", ".join(unknown)}; settings.elements: {", ".join(elements)}'
    return None


def _check_settings(inputs: Mapping[str, Any]) -> str | None:
    from ..science.pacemaker import refuse_stress

    values = inputs['settings'].get_dict().get('fit') or {}
    message = refuse_stress(values)
    if message:
        return message
    bonds = FitConfig.model_validate(values).whole_basis.bonds
    strange = {key: bond.inner_cutoff_type for key, bond in bonds.items() if bond.inner_cutoff_type not in
               (None, 'distance')}  # fmt: skip
    if strange:
        return (
            f'fit.basis.bonds: inner_cutoff_type {strange}; allowed: distance. TensorPotential fits without the other '
            'cores, which LAMMPS then adds; the baseline is the core'
        )
    return None


def _check_beginning(inputs: Mapping[str, Any]) -> str | None:
    given = [port for port in ('potential', 'reference') if port in inputs]
    if len(given) != 1:
        return f'potential, reference: {len(given)} given, expected exactly one (a first fit has a `reference`)'
    if 'potential' not in inputs:
        return None
    elements = inputs['settings'].get_dict()['elements']
    known = inputs['potential'].elements
    if set(known) != set(elements):
        return f'potential: has {", ".join(known)}; settings.elements: {", ".join(elements)}; they must be the same'
    return None


def _check_labels(inputs: Mapping[str, Any]) -> str | None:
    from ..science.ace.weights import labelled_kinds

    for name in inputs['datasets']:
        try:
            frames = chosen_frames(inputs, name)
            kinds = set().union(*(labelled_kinds(frames, row) for row in range(len(frames))))
        except ValueError as error:
            return f'datasets.{name}: {error}'
        if not kinds & {'energy', 'forces'}:
            return f'datasets.{name}: no frame has an energy or a force with weight > 0; label it or leave it out'
    return None
