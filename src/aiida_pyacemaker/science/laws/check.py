"""All laws at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ase import Atoms

from .derivatives import force_is_minus_the_slope, stress_is_the_slope_by_strain
from .distances import repulsive_wall, smooth_cutoff
from .examples import Examples, LawFinding, make_examples
from .symmetries import image_shift, permutation, relabelling, rotation, size_consistency

LAWS: Mapping[str, Callable[[Examples], LawFinding]] = MappingProxyType(
    {
        'rotation': rotation,
        'permutation': permutation,
        'relabelling': relabelling,
        'image shift': image_shift,
        'size consistency': size_consistency,
        'forces': force_is_minus_the_slope,
        'stress': stress_is_the_slope_by_strain,
        'smooth cut-off': smooth_cutoff,
        'repulsive wall': repulsive_wall,
    }
)


def check_laws(
    potential: Any,
    structures: Sequence[Atoms] | None = None,
    *,
    elements: Sequence[str] | None = None,
    skip: Collection[str] = (),
    seed: int = 0,
) -> tuple[LawFinding, ...]:
    """Return one finding a law of ``LAWS`` for an ACE potential, a student or any ASE calculator.

    ``structures``: what to try the laws on, default: rattled crystals and a cluster of ``elements``, which default to
    those of the potential. Tolerances are those of double precision. ``ValueError`` for a law to skip that does not
    exist, or when nothing names the elements.
    """
    unknown = sorted(set(skip) - set(LAWS))
    if unknown:
        raise ValueError(f'no law is called {", ".join(unknown)}, expected some of: {", ".join(LAWS)}')
    examples = make_examples(potential, structures, elements, seed)
    return tuple(law(examples) for name, law in LAWS.items() if name not in skip)


def assert_potential_obeys_laws(
    potential: Any,
    structures: Sequence[Atoms] | None = None,
    *,
    elements: Sequence[str] | None = None,
    skip: Collection[str] = (),
    seed: int = 0,
) -> tuple[LawFinding, ...]:
    """Return what :func:`check_laws` found; ``AssertionError`` names every broken law, how much and where."""
    findings = check_laws(potential, structures, elements=elements, skip=skip, seed=seed)
    broken = [finding for finding in findings if not finding.holds]
    if broken:
        rows = '; '.join(f'{f.law}: {f.detail} ({f.deviation:.3g}, tolerance {f.tolerance:.3g})' for f in broken)
        raise AssertionError(f'{type(potential).__name__} breaks {len(broken)} of {len(findings)} laws: {rows}')
    return findings
