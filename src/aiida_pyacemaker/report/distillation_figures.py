"""The figures of phase 1; each draws what it is given on the axes it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .figures import CALM, INK, WARM


def draw_pool(ax: Any, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Draw numbers of frames by set of elements as bars, stacked by generator."""
    systems = sorted(counts, key=lambda name: (name.count('-'), name))
    kinds = sorted({kind for row in counts.values() for kind in row})
    bottom = np.zeros(len(systems))
    colours = [f'C{index % 10}' for index in range(len(kinds))]
    for index, (kind, colour) in enumerate(zip(kinds, colours, strict=True)):
        heights = np.array([counts[system].get(kind, 0) for system in systems])
        hatch = '//' if index >= 10 else None
        ax.bar(systems, heights, bottom=bottom, label=kind, color=colour, hatch=hatch, width=0.75)
        bottom = bottom + heights
    ax.set_ylabel('frames')
    ax.tick_params(axis='x', rotation=45)
    ax.legend(frameon=False, fontsize=7, loc='center left', bbox_to_anchor=(1.0, 0.5))


def draw_subsystems(ax: Any, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw force errors (eV/Å, bars) and energy errors (meV/atom, marks on an axis of their own) by name."""
    names = sorted(rows, key=lambda name: (name.count('-'), name))
    forces = [rows[name]['rmse_forces_eV_per_A'] or 0.0 for name in names]
    energies = [1000.0 * (rows[name]['rmse_energy_eV_per_atom'] or 0.0) for name in names]
    ax.bar(names, forces, color=CALM, width=0.7)
    ax.set_ylabel('force RMSE (eV/Å)', color=CALM)
    ax.tick_params(axis='x', rotation=45)
    for name, height in zip(names, forces, strict=True):
        ax.annotate(f'{rows[name]["n_frames"]}', (name, height), ha='center', va='bottom', fontsize=7, color=INK)
    other = ax.twinx()
    other.plot(names, energies, 'D', color=WARM, markersize=5)
    other.set_ylabel('energy RMSE (meV/atom)', color=WARM)
    other.set_ylim(bottom=0.0)


def draw_learning_curve(ax: Any, curve: Mapping[str, Any]) -> None:
    """Draw held-out errors against numbers of frames, and the power law that the verdict rests on, to twice as many."""
    sizes, errors = np.array(curve['n_frames'], dtype=float), np.array(curve['errors'], dtype=float)
    ax.plot(sizes, errors, 'o', color=CALM, label='measured')
    middle = np.exp(np.log(sizes).mean()), np.exp(np.log(errors).mean())
    reach = np.geomspace(sizes.min(), 2.0 * sizes.max(), 50)
    law = middle[1] * (reach / middle[0]) ** -curve['exponent']
    ax.plot(reach, law, color=WARM, linewidth=1.0, label=f'N^{-curve["exponent"]:.2f}')
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_xlabel('frames learnt from')
    ax.set_ylabel('force RMSE (eV/Å)' if 'forces' in curve['quantity'] else 'energy RMSE (eV/atom)')
    ax.legend(frameon=False, fontsize=8)
