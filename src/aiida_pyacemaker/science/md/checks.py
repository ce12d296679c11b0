"""What can be seen to be wrong before a segment is submitted: messages with setting, value and remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

from ..config import ActiveLearningThresholds, MdConfig

if TYPE_CHECKING:  # pyacemaker-lmp reads its command line before it loads numba
    from ..ace import AcePotential
    from ..baseline import PairBaseline

# No build we know is faster: µs for each function, atom and step of one core (our engine: 0.02) and of one GPU.
FASTEST_CORE_US, FASTEST_GPU_US = 0.01, 0.0005


def check_intervals(md: MdConfig, thresholds: ActiveLearningThresholds) -> str | None:
    """Return which period of ``md`` is no multiple of ``thresholds.check_every``.

    γ is known at the checks only: a frame between two would carry the γ of another step, and a restart file between
    two could lie inside an excursion that nobody has seen yet.
    """
    for name in ('dump_every', 'restart_every'):
        found = getattr(md, name)
        if found % thresholds.check_every:
            return (
                f'md.{name} = {found} is no multiple of thresholds.check_every = {thresholds.check_every}: '
                'γ is known at the checks only'
            )
    return None


def check_stride(stride: int | None, thresholds: ActiveLearningThresholds) -> str | None:
    """Return why a stretch of ``stride`` MD steps (None: no such end) could never halt: its streak starts empty."""
    least = thresholds.smooth_steps * thresholds.check_every
    if stride is None or stride >= least:
        return None
    return (
        f'strategy.stride_steps = {stride}: shorter than a streak of {thresholds.smooth_steps} checks every '
        f'{thresholds.check_every} steps, so no stretch of MD could call for DFT; allowed: {least} and more'
    )


def check_box(md: MdConfig, pbc: Sequence[bool]) -> str | None:
    """Return what is wrong with a barostat on this box: it cannot scale a side that is not periodic."""
    if md.ensemble == 'npt' and not all(pbc):
        return f'md.ensemble = npt with pbc = {[bool(side) for side in pbc]}: a barostat needs three periodic sides'
    return None


def check_wall_limit(
    md: MdConfig, wall_seconds: float, *, n_atoms: int, n_functions: int, n_processors: int, accelerated: bool = False
) -> str | None:
    """Return why not even one restart file would be written within ``wall_seconds``, by the fastest build we know.

    n_functions: of the element that has most; n_processors: MPI ranks x threads, or GPUs with ``accelerated``.
    """
    fastest = FASTEST_GPU_US if accelerated else FASTEST_CORE_US
    least = 1e-6 * fastest * n_functions * n_atoms * md.restart_every / max(1, n_processors)
    if least <= wall_seconds:
        return None
    return (
        f'md.restart_every = {md.restart_every}: with {n_atoms} atoms that takes at least {least:.0f} s, '
        f'the wall limit leaves {wall_seconds:.0f} s: no restart file would be written; '
        'lower it or ask for more time or processors'
    )


def check_baseline(potential: AcePotential, baseline: PairBaseline, *, has_table: bool) -> str | None:
    """Return why ``baseline`` cannot be added to ``potential`` in one ``pair_style hybrid/overlay``.

    Its table has to be there, it must know every pair of elements, and the potential may have no core repulsion of its
    own: that would be added twice.
    """
    if not has_table:
        return 'potential: baseline.json without baseline.table, which LAMMPS reads: give the folder that the fit wrote'
    pairs = combinations_with_replacement(potential.elements, 2)
    missing = [key for key in ('-'.join(sorted(pair)) for pair in pairs) if key not in baseline.pairs]
    if missing:
        return f'potential: the baseline has no term for {", ".join(missing)}: fit it to all elements'
    cores = [key for key, bond in potential.bonds.items() if not bond.acts_through_radials]
    if cores:
        names = ', '.join('-'.join(potential.elements[index] for index in key) for key in cores)
        return f'potential: {names} has a core repulsion of its own beside the baseline: it would act twice'
    return None


def allowed_deviation(value: float) -> float:
    """Return by how much a number of the canary may differ between two programs."""
    from ..student import CANARY_TOLERANCE

    return float(CANARY_TOLERANCE * max(1.0, abs(value)))


def judge_canary(
    canary: Mapping[str, tuple[float, float]], free_atoms_eV: Callable[[], float]
) -> tuple[str | None, bool]:
    """Return what the program gets wrong about the known frame, or ``None``, and whether it knows the free atoms.

    canary: found and expected ``max_gamma``, ``sum_gamma`` and ``energy``; free_atoms_eV: gives the sum of the frame's
    reference energies, which stock ML-PACE does not read from a B-basis file: an energy that lacks just these is right.
    """

    def agrees(found: float, expected: float) -> bool:
        return abs(found - expected) <= allowed_deviation(expected)

    for name in ('max_gamma', 'sum_gamma'):
        if not agrees(*canary[name]):
            return f'{name} {canary[name][0]:.10g}, expected {canary[name][1]:.10g}', True
    found, expected = canary['energy']
    if agrees(found, expected):
        return None, True
    if agrees(found + free_atoms_eV(), expected):
        return None, False
    return f'energy {found:.10g} eV, expected {expected:.10g} eV', True
