"""The figures of a potential; each draws what it is given on the axes it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..science.ace.calibration import GammaCalibration, GradedErrors, PrequentialCoverage
from ..science.curves import DecohesionCurve, PairCurve, TrimerCurve
from .figures import ALARM, CALM, INK, THRESHOLDS, WARM

Array = NDArray[np.float64]

DEEPEST_SHOWN = 3.0  # well depths above zero to which energies of pairs are shown
LOWEST_GRADE = 1e-3  # grades below are counted in the first bar


def draw_pair_curves(ax: Any, curves: Sequence[PairCurve]) -> None:
    """Draw the energies of dimers in eV against their distance in Å, cut above at some well depths."""
    for curve in curves:
        ax.plot(curve.distances, curve.energies, label=curve.pair, linewidth=1.3)
    lowest = min((float(np.min(curve.energies)) for curve in curves), default=-1.0)
    depth = max(-lowest, 0.1)
    ax.set_ylim(-1.2 * depth, DEEPEST_SHOWN * depth)
    ax.axhline(0.0, color=INK, linewidth=0.6)
    ax.set_xlabel('distance (Å)')
    ax.set_ylabel('energy of the pair (eV)')
    ax.legend(frameon=False, fontsize=8)


def draw_trimer_curves(ax: Any, curves: Sequence[TrimerCurve]) -> None:
    """Draw the energies of trimers in eV against the angle at their centre in degrees."""
    for curve in curves:
        ax.plot(curve.angles, curve.energies, label=f'{curve.trimer}, {curve.bond_length:.2f} Å', linewidth=1.3)
    ax.set_xlabel('angle (degrees)')
    ax.set_ylabel('energy of the trimer (eV)')
    ax.legend(frameon=False, fontsize=8)


def draw_decohesion(ax: Any, curve: DecohesionCurve) -> None:
    """Draw the energy in J/m² of pulling a crystal apart against the opening in Å."""
    ax.plot(curve.openings, curve.energies, color=CALM, linewidth=1.3, label=curve.crystal)
    ax.axhline(0.0, color=INK, linewidth=0.6)
    ax.set_xlabel('opening (Å)')
    ax.set_ylabel('energy of the cut (J/m²)')
    ax.legend(frameon=False, fontsize=8)


def draw_gamma_histogram(ax: Any, grades: Mapping[str, Array], *, thresholds: Mapping[str, float]) -> None:
    """Draw how many atoms have which γ, one line a set of atoms, on two logarithmic axes; infinite ones are named."""
    finite = {name: np.maximum(values[np.isfinite(values)], LOWEST_GRADE) for name, values in grades.items()}
    everything = np.concatenate([np.ones(1), *finite.values()])
    edges = np.geomspace(0.9 * everything.min(), 1.1 * everything.max(), 61)
    for name, values in finite.items():
        infinite = len(grades[name]) - len(values)
        label = name + (f' (and {infinite} not finite)' if infinite else '')
        ax.hist(values, bins=edges, histtype='step', linewidth=1.3, label=label)
    for name, (words, colour) in THRESHOLDS.items():
        value = thresholds.get(f'threshold_{name}')
        if value:
            ax.axvline(value, color=colour, linewidth=0.9, linestyle='--', label=f'{words} ({value:g})')
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_xlabel('extrapolation grade γ')
    ax.set_ylabel('atoms')
    ax.legend(frameon=False, fontsize=8)


def draw_calibration(ax: Any, calibration: GammaCalibration, known: GradedErrors) -> None:
    """Draw force errors in eV/Å against γ, and the bound of each bin where it is finite."""
    finite = np.isfinite(known.gamma)
    ax.plot(known.gamma[finite], known.errors[finite], '.', markersize=3, color=CALM, alpha=0.4, label='labelled atoms')
    lowest = max(LOWEST_GRADE, float(known.gamma[finite].min(initial=1.0)))
    label = f'bound for {100 * calibration.level:g} %'
    for low, high, bound in zip(calibration.edges[:-1], calibration.edges[1:], calibration.bounds, strict=True):
        if np.isfinite(bound):
            ax.plot([max(low, lowest), high], [bound, bound], color=ALARM, linewidth=1.5, label=label)
            label = '_nolegend_'
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_xlabel('extrapolation grade γ')
    ax.set_ylabel('error of the force (eV/Å)')
    ax.legend(frameon=False, fontsize=8)


def draw_coverage(ax: Any, result: PrequentialCoverage, names: Sequence[str]) -> None:
    """Draw the fraction of errors within their bound, batch by batch, and the level that was aimed at."""
    places = np.arange(len(names))
    judged = np.isfinite(result.covered)
    ax.bar(places[judged], result.covered[judged], color=CALM, width=0.6)
    ax.axhline(result.level, color=WARM, linestyle='--', linewidth=1.0, label=f'aimed at: {result.level:g}')
    ax.set_xticks(places, list(names), fontsize=8, rotation=30, ha='right')
    for place in places[~judged]:
        ax.annotate('nothing known before', (place, 0.02), rotation=90, ha='center', va='bottom', fontsize=8, color=INK)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(0.0, 1.05)
    ax.set_ylabel('errors within the bound known before')
    ax.legend(frameon=False, fontsize=8)
