"""What every task CalcJob shares: how its inputs become files, what it runs, what its failures are called."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.common.links import LinkType
from aiida.engine import CalcJob

from ..data.ace_potential import AcePotentialData
from ..data.dataset import AtomicDatasetData
from ..data.teacher import TeacherModelData
from ..science.config import Settings, check_settings
from ..tasks.base import TaskFailure

TASK_FILE, RESULT_FILE, PROGRESS_FILE = 'task.json', 'result.json', 'progress.jsonl'
PIECES = 'piece*'  # files and folders of what a task has finished
DEFAULT_RESOURCES = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
ONE_THREAD = {name: '1' for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMBA_NUM_THREADS')}
MESSAGES = {
    'INVALID_INPUT': 'The program refused its input: {message}',
    'UNREADABLE_FILE': 'A file that the program was given cannot be read: {message}',
    'UNKNOWN_ELEMENT': 'An element is unknown to the model or potential: {message}',
    'NON_FINITE_RESULT': 'The program met a number that is not finite: {message}',
    'NOTHING_LEFT': 'Nothing was left after filtering: {message}',
    'TOO_FEW_ENVIRONMENTS': 'There are too few atomic environments for the basis: {message}',
    'OUT_OF_MEMORY': 'The program ran out of memory: {message}',
    'UNEXPECTED': 'The program ended with an error it does not know: {message}',
}


class TaskCalculation(CalcJob):
    """Runs ``pyacemaker-task TASK task.json``; a subclass names the task, its ports and the files it leaves."""

    CACHE_VERSION = 1
    TASK: ClassVar[str]
    # key of the `settings` port -> its model, or None for a plain value
    SETTINGS: ClassVar[Mapping[str, type[Settings] | None]] = {}
    # files that the parser turns into nodes and that are not kept beside them
    OUTPUT_FILES: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def define(cls, spec: Any) -> None:
        """Declare what all tasks share."""
        super().define(spec)
        options = spec.inputs['metadata']['options']
        options['parser_name'].default = f'pyacemaker.{cls.TASK}'
        options['resources'].default = lambda: dict(DEFAULT_RESOURCES)
        options['withmpi'].default = False
        options['environment_variables'].default = lambda: dict(ONE_THREAD)
        options['output_filename'].default = 'task.out'
        spec.input(
            'settings',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=task_settings_validator(cls.SETTINGS),
            help=f'Settings of the task; keys: {", ".join(cls.SETTINGS) or "none"}.',
        )
        spec.exit_code(
            302,
            'ERROR_NO_RESULT',
            invalidates_cache=True,
            message='The program left no `result.json`: it was killed or never started.',
        )
        spec.exit_code(
            303,
            'ERROR_UNREADABLE_OUTPUT',
            invalidates_cache=True,
            message='A file that the program should have left is missing or cannot be read: {message}',
        )
        for name, status in TaskFailure.STATUSES.items():
            spec.exit_code(status, f'ERROR_{name}', invalidates_cache=True, message=MESSAGES[name])

    @classmethod
    def is_valid_cache(cls, node: orm.ProcessNode) -> bool:
        """Serve only successful runs from the cache."""
        return bool(super().is_valid_cache(node) and node.is_finished_ok)

    def write_inputs(self, folder: Path) -> dict[str, Any]:
        """Write the input nodes into ``folder`` and return the fields of the task that are not settings."""
        raise TypeError(f'{type(self).__name__} does not say what its task is made of')

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write ``task.json`` and, beside it, the files it names; copies of nodes are kept out of the repository."""
        root = Path(folder.abspath)
        task = {**self.inputs.settings.get_dict(), **self.write_inputs(root)}
        copies = [str(path.relative_to(root)) for path in root.rglob('*') if path.is_file()]
        (root / TASK_FILE).write_text(json.dumps(task, indent=1, sort_keys=True))
        run = CodeInfo()
        run.code_uuid = self.inputs.code.uuid
        run.cmdline_params = [self.TASK, TASK_FILE]
        run.stdout_name = self.options.output_filename
        run.join_files = True
        info = CalcInfo()
        info.codes_info = [run]
        info.retrieve_list = [RESULT_FILE, PROGRESS_FILE, self.options.output_filename]
        info.retrieve_temporary_list = list(self.OUTPUT_FILES)
        info.provenance_exclude_list = copies
        if 'unfinished' in self.inputs:
            killed = self.inputs.unfinished
            info.remote_copy_list = [(killed.computer.uuid, f'{killed.get_remote_path()}/{PIECES}', '.')]
        return info


def task_settings_validator(
    models: Mapping[str, type[Settings] | None],
) -> Callable[[orm.Dict, Any], str | None]:
    """Return a validator of a ``settings`` port: unknown keys are refused, nested settings held against their model."""

    def validate(node: orm.Dict, _: Any) -> str | None:
        values = node.get_dict()
        unknown = sorted(set(values) - set(models))
        if unknown:
            return f'settings: unknown {", ".join(unknown)}; allowed: {", ".join(models) or "none"}'
        nested = ((key, models[key], value) for key, value in values.items())
        messages = [check_settings(model, value, f'settings.{key}') for key, model, value in nested if model]
        return '; '.join(filter(None, messages)) or None

    return validate


def add_seed(spec: Any) -> None:
    """Declare the ``seed`` port of a task that draws random numbers."""
    spec.input('seed', valid_type=orm.Int, help='Seed of every random choice of this task.')


def add_check(spec: Any, check: Callable[[Any, Any], str | None]) -> None:
    """Have ``check`` look at all inputs after AiiDA's own check of code, computer and resources, not in its place."""
    own = spec.inputs.validator

    def check_both(inputs: Any, port: Any) -> str | None:
        message: str | None = own(inputs, port)
        return message or check(inputs, port)

    spec.inputs.validator = check_both


def add_unfinished(spec: Any) -> None:
    """Declare the ``unfinished`` port of a task that leaves its work in pieces."""
    spec.input(
        'unfinished',
        valid_type=orm.RemoteData,
        required=False,
        help='Folder of a killed run with the same other inputs: its finished pieces are not made again.',
    )
    add_check(spec, validate_unfinished)


def validate_unfinished(inputs: Mapping[str, Any], _: Any) -> str | None:
    """Refuse the pieces of a run that had other inputs: they would be taken for this one's."""
    if 'unfinished' not in inputs:
        return None
    killed = inputs['unfinished'].creator
    links = killed.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all() if killed else []
    theirs = {link.link_label: _content(link.node) for link in links}
    mine = {name: _content(node) for name, node in _nodes_of(inputs).items()}
    names = (set(theirs) | set(mine)) - {'unfinished', 'code'}
    other = sorted(name for name in names if theirs.get(name) != mine.get(name))
    return f'unfinished: the run that left it had other {", ".join(other)}' if other else None


def _nodes_of(inputs: Mapping[str, Any], prefix: str = '') -> dict[str, orm.Node]:
    """Return the nodes among nested inputs by their link label."""
    found: dict[str, orm.Node] = {}
    for name, value in inputs.items():
        if isinstance(value, orm.Node):
            found[f'{prefix}{name}'] = value
        elif isinstance(value, Mapping):
            found |= _nodes_of(value, f'{prefix}{name}__')
    return found


def _content(node: orm.Node) -> tuple[dict[str, Any], str]:
    """Return what a node holds, which one that is not stored yet has no hash for."""
    return node.base.attributes.all, node.base.repository.hash()


def write_teacher(node: TeacherModelData, folder: Path, name: str = 'teacher') -> list[str]:
    """Write the model files into ``folder/name``; return their paths as the task names them."""
    return [str(path.relative_to(folder)) for path in node.write_to(folder / name)]


def write_dataset(node: AtomicDatasetData, folder: Path, name: str, rows: orm.ArrayData | None = None) -> str:
    """Write the frames of a dataset (only ``rows``, where given) to ``folder/name.npz``; return the file's name."""
    frames = node.get_frames()
    if rows is not None:
        frames = frames.select(rows.get_array('indices'))
    frames.save(folder / f'{name}.npz')
    return f'{name}.npz'


def write_potential(node: AcePotentialData, folder: Path, name: str = 'potential') -> str:
    """Write the potential's files into ``folder/name``; return that name."""
    node.write_to(folder / name)
    return name


def write_indices(node: orm.ArrayData, name: str, folder: Path) -> str:
    """Write one array of indices to ``folder/indices.npy``; return the file's name."""
    np.save(folder / 'indices.npy', node.get_array(name))
    return 'indices.npy'
