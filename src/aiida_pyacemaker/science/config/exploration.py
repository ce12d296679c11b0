"""Settings of molecular dynamics and of when it halts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from .base import Count, Finite, Positive, Settings

THRESHOLDS = ('threshold_add_train', 'threshold_call_dft', 'threshold_danger')
TEACHER_DEFAULTS_EV_PER_A = (0.02, 0.05, 0.1)
LARGEST_CALL_EV_PER_A = 1.0


class ElementThresholds(Settings):
    """Thresholds of the atoms of one element; what is not given is as for the others."""

    threshold_add_train: Positive | None = None
    threshold_call_dft: Positive | None = None
    threshold_danger: Positive | None = None


class ActiveLearningThresholds(Settings):
    """The two-tier rule: add < call < danger, on what ``measure`` says of every atom.

    measure: ``gamma``, the extrapolation grade γ (dimensionless, 1 is where the student stops interpolating), or
    ``teacher``, how far the members of the teacher's committee disagree about a force (eV/Å; pyacemaker-lmp only).
    per_element: symbol -> thresholds of its own. target_force_error (eV/Å): given to the whole loop in place of
    ``threshold_call_dft``, which then becomes the largest γ up to which a fraction ``coverage`` of the student's force
    errors on the held-out set of the distillation stayed below it; add and danger keep their ratios to call.
    """

    measure: Literal['gamma', 'teacher'] = 'gamma'
    threshold_add_train: Positive = 2.0
    threshold_call_dft: Positive = 5.0
    threshold_danger: Positive = 10.0
    per_element: dict[str, ElementThresholds] = {}
    target_force_error: Positive | None = None
    coverage: float = Field(0.95, gt=0, lt=1)
    smooth_steps: Count = 2
    check_every: Count = 10
    persistence: Literal['auto', 'system', 'atom'] = 'auto'

    @model_validator(mode='before')
    @classmethod
    def _defaults_of_measure(cls, values: Any) -> Any:
        """Fill in the defaults of a teacher's committee, which are no grades."""
        if isinstance(values, dict) and values.get('measure') == 'teacher':
            return {**dict(zip(THRESHOLDS, TEACHER_DEFAULTS_EV_PER_A, strict=True)), **values}
        return values

    @field_validator('per_element')
    @classmethod
    def _elements_exist(cls, value: dict[str, ElementThresholds]) -> dict[str, ElementThresholds]:
        unknown = sorted(set(value) - set(atomic_numbers))
        if unknown:
            raise ValueError(f'{", ".join(unknown)}: expected symbols of elements, as Si')
        return value

    @model_validator(mode='after')
    def _in_order(self) -> ActiveLearningThresholds:
        for element in (None, *self.per_element):
            add, call, danger = (self.of(name, element) for name in THRESHOLDS)
            where = '' if element is None else f' for {element}'
            if not add < call < danger:
                raise ValueError(
                    'thresholds must rise: threshold_add_train < threshold_call_dft < threshold_danger, found '
                    f'{add}, {call}, {danger}{where}'
                )
            self._check_scale(add, call, where)
        return self

    @model_validator(mode='after')
    def _calibrated_is_a_grade(self) -> ActiveLearningThresholds:
        if self.target_force_error is not None and self.measure != 'gamma':
            raise ValueError("target_force_error calibrates γ, found measure 'teacher': give thresholds in eV/Å")
        return self

    def _check_scale(self, add: float, call: float, where: str) -> None:
        if self.measure == 'gamma' and add < 1.0:
            raise ValueError(
                f'threshold_add_train = {add}{where}: γ below 1 is interpolation, expected 1 or more; numbers like '
                "0.02 and 0.05 are a committee's uncertainty in eV/Å: measure 'teacher'"
            )
        if self.measure == 'teacher' and call > LARGEST_CALL_EV_PER_A:
            raise ValueError(
                f'threshold_call_dft = {call} eV/Å{where}: expected at most {LARGEST_CALL_EV_PER_A}, 0.05 is usual; '
                "numbers like 2, 5 and 10 are grades: measure 'gamma'"
            )

    @property
    def call_on_gamma(self) -> float:
        """The smallest γ above which an atom calls for DFT; that of the defaults where γ is not what is measured."""
        if self.measure != 'gamma':
            return float(type(self).model_fields['threshold_call_dft'].default)
        return min(self.of('threshold_call_dft', element) for element in (None, *self.per_element))

    def of(self, name: str, element: str | None) -> float:
        """Return threshold ``name`` of an element, or the general one."""
        own = getattr(self.per_element.get(element or ''), name, None)
        return float(getattr(self, name) if own is None else own)


class MdConfig(Settings):
    """One MD run; temperatures in K, times in ps, pressures in GPa; ramps are linear from step 0 to ``n_steps``.

    The barostat (``npt``) scales the box as one (``iso``), along its three axes (``aniso``) or in shape too (``tri``).

    A swapped potential is let in over ``soft_start_steps``: ``lambda`` ramps from the old one to the new, ``langevin``
    damps strongly. Where the mean temperature of the ``swap_steps`` after that is above its target by more than
    ``swap_temperature_limit`` (relative), the new potential is rejected; null: never.
    """

    ensemble: Literal['nve', 'nvt', 'npt', 'langevin'] = 'nvt'
    temperature_start_K: Positive = 300.0
    temperature_end_K: Positive = 300.0
    pressure_start_GPa: Finite = 0.0
    pressure_end_GPa: Finite = 0.0
    pressure_damping_ps: Positive = 1.0
    barostat: Literal['iso', 'aniso', 'tri'] = 'iso'
    timestep_ps: Positive = 0.001
    n_steps: Count = 10_000
    damping_ps: Positive = 0.1
    restart_every: Count = 500
    dump_every: Count = 100
    ring_size: Count = 20
    soft_start: Literal['lambda', 'langevin', 'none'] = 'lambda'
    soft_start_steps: int = Field(100, ge=0)
    soft_start_damping_ps: Positive = 0.02
    swap_steps: Count = 200
    swap_temperature_limit: Positive | None = 0.5


class LammpsConfig(Settings):
    """How the program is called and what else comes back; nothing here changes the physics.

    cmdline: flags after ours, e.g. ``-k on g 1 -sf kk -pk kokkos newton on neigh half`` (one GPU a node) or
    ``-pk omp 4`` (threads of pyacemaker-lmp), word by word; additional_retrieve_list: files kept beside the logs.
    """

    cmdline: tuple[str, ...] = ()
    additional_retrieve_list: tuple[str, ...] = ()

    @field_validator('cmdline')
    @classmethod
    def _flags_of_ours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        ours = sorted({'-in', '-i', '-log', '-l', '-screen', '-sc', '-partition', '-p'} & set(value))
        if ours:
            raise ValueError(f'{", ".join(ours)} cannot be given: script, log and screen are written by the plugin')
        return value

    @field_validator('cmdline')
    @classmethod
    def _flags_of_gpu(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse Kokkos' own choice on GPUs, as the pace styles do, but before the job has waited for one."""
        pairs = set(pairwise(value))
        if {('-k', 'on'), ('-kokkos', 'on')} & pairs and 'g' in value:
            missing = [' '.join(pair) for pair in (('newton', 'on'), ('neigh', 'half')) if pair not in pairs]
            if missing:
                raise ValueError(f'pace on a GPU needs -pk kokkos newton on neigh half, missing: {", ".join(missing)}')
        return value
