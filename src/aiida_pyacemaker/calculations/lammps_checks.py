"""What the inputs of an MD must satisfy before it is submitted; shared by the CalcJob and the WorkChains above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ..science.config import ActiveLearningThresholds, LammpsConfig, MdConfig, Settings, check_settings
from ..science.md import check_baseline, check_box, check_intervals, check_wall_limit

# the last part of the wall limit is kept for the restart file and the last frame
WALL_FRACTION, WALL_RESERVE_SECONDS = 0.95, 60.0
OWN_PROGRAM = 'pyacemaker-lmp'
SETTINGS: dict[str, type[Settings]] = {'md': MdConfig, 'thresholds': ActiveLearningThresholds, 'settings': LammpsConfig}


def soft_limit(wall_seconds: float) -> float:
    """Return after how many seconds MD has to end itself so that a job of ``wall_seconds`` is not killed."""
    return max(WALL_FRACTION * wall_seconds - WALL_RESERVE_SECONDS, 0.5 * wall_seconds)


def validate_inputs(inputs: Any, _: Any) -> str | None:
    """Validate the whole namespace; ports that are not there (exposed elsewhere) are not judged.

    Scheduler options are those of the CalcJob's metadata, or the `options` port of a WorkChain.
    """
    if any(port not in inputs for port in ('potential', 'md', 'thresholds')):
        return None
    options = inputs.get('options') or inputs.get('metadata', {}).get('options', {})
    return (
        validate_start(inputs)
        or validate_settings(inputs)
        or validate_measure(_thresholds(inputs), inputs, inputs['potential'].elements)
        or validate_potential(inputs)
        or _time(inputs, options)
    )


def validate_start(inputs: Any) -> str | None:
    """Return what is wrong with where MD starts: one of `structure` and `restart`, one frame, known elements."""
    given = [port for port in ('structure', 'restart') if inputs.get(port) is not None]
    if len(given) != 1:
        return f'structure, restart: {len(given)} given, expected exactly one'
    if 'structure' in given and len(inputs['structure']) != 1:
        return f'structure holds {len(inputs["structure"])} frames, expected 1'
    if 'structure' in given:
        try:
            inputs['potential'].check_elements(inputs['structure'].elements)
        except ValueError as error:
            return f'structure: {error}'
    return None


def validate_until_step(node: Any, _: Any) -> str | None:
    """Return what is wrong with an end of its own: MD starts at step 0 and counts up."""
    return None if node is None or node.value > 0 else f'until_step = {node.value}: expected a step above 0'


def validate_settings(inputs: Any) -> str | None:
    """Return what is wrong with the settings of MD, thresholds and program, alone and together."""
    if inputs.get('previous_potential') is not None and 'potential' in inputs:
        try:
            inputs['previous_potential'].check_elements(inputs['potential'].elements)
        except ValueError as error:
            return f'previous_potential: {error}'
    values = {port: inputs[port].get_dict() for port in SETTINGS if port in inputs}
    wrong = [message for port in values if (message := check_settings(SETTINGS[port], values[port], port))]
    if wrong:
        return '; '.join(wrong)
    md = MdConfig.model_validate(values['md'])
    structure = inputs.get('structure')
    message = None if structure is None else check_box(md, next(structure.iter_ase()).pbc)
    return message or check_intervals(md, _thresholds(inputs))


def validate_measure(thresholds: ActiveLearningThresholds, inputs: Any, elements: Sequence[str]) -> str | None:
    """Return why what halts the MD cannot be measured: a committee is asked by our own program alone."""
    if thresholds.measure != 'teacher':
        return None
    code, teacher = inputs.get('code') or inputs.get('lammps_code'), inputs.get('teacher')
    program = OWN_PROGRAM if code is None else PurePath(getattr(code, 'filepath_executable', '')).name
    if program != OWN_PROGRAM:
        return (
            f"thresholds.measure = 'teacher': {program} ({code.label}) cannot ask a teacher; allowed: the code "
            f"{OWN_PROGRAM}, or measure 'gamma'"
        )
    if teacher is None or teacher.n_members < 2:
        found = 'none' if teacher is None else 'one that has 1 member'
        return f"thresholds.measure = 'teacher': expected a teacher of two members or more, found {found}"
    missing = sorted(set(elements) - set(teacher.elements))
    return f'teacher: it does not know {", ".join(missing)}, which the potential does' if missing else None


def validate_potential(inputs: Any) -> str | None:
    """Return why this potential cannot drive an MD that halts: no active set, or a baseline that clashes with it."""
    potential = inputs['potential']
    names = potential.base.repository.list_object_names()
    if 'potential.asi' not in names:
        return 'potential: no potential.asi: without an active set there is no γ and MD would never halt'
    if not potential.has_baseline:
        return None
    from ..science.ace import AcePotential
    from ..science.baseline import PairBaseline

    with potential.base.repository.as_path('potential.yaml') as path:
        ace = AcePotential.read(path)
    baseline = PairBaseline.from_json(potential.base.repository.get_object_content('baseline.json'))
    return check_baseline(ace, baseline, has_table='baseline.table' in names)


def _thresholds(inputs: Any) -> ActiveLearningThresholds:
    return ActiveLearningThresholds.model_validate(inputs['thresholds'].get_dict())


def _time(inputs: Any, options: Mapping[str, Any]) -> str | None:
    """Return why the wall limit is too short for one restart file, where the number of atoms is known."""
    limit, structure = options.get('max_wallclock_seconds'), inputs.get('structure')
    if limit is None or structure is None:
        return None
    flags = tuple(inputs['settings'].get_dict().get('cmdline', ())) if 'settings' in inputs else ()
    resources = options.get('resources', {})
    ranks = resources.get('num_machines', 1) * resources.get('num_mpiprocs_per_machine', 1)
    return check_wall_limit(
        MdConfig.model_validate(inputs['md'].get_dict()),
        soft_limit(limit),
        n_atoms=structure.get_frames().n_atoms,
        n_functions=max(inputs['potential'].base.attributes.get('n_functions').values()),
        n_processors=resources.get('tot_num_mpiprocs', ranks) * _threads(flags),
        accelerated=bool({'-k', '-kokkos'} & set(flags)),
    )


def _threads(flags: tuple[str, ...]) -> int:
    """Return the threads of ``-pk omp N``, one where they are not given."""
    for flag, kind, count in zip(flags, flags[1:], flags[2:], strict=False):
        if flag in ('-pk', '-package') and kind == 'omp' and count.isdigit():
            return max(1, int(count))
    return 1
