"""Pictures of where a run was unsure; each draws on the axes it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.data import chemical_symbols

MEASURES = {'gamma': 'extrapolation grade γ', 'teacher': 'disagreement of the teacher (eV/Å)'}


def draw_against_temperature(ax: Any, found: Mapping[str, Any], *, measure: str = 'gamma') -> None:
    """Draw the median (line) and the largest measure (dots) of every graded frame against its temperature in K."""
    order = np.argsort(found['temperature_K'])
    for kind, number in enumerate(found['number']):
        name, colour = chemical_symbols[number], f'C{kind}'
        temperature = found['temperature_K'][order]
        ax.plot(temperature, _drawable(found['largest'][order, kind]), '.', color=colour, label=f'{name}, largest')
        ax.plot(temperature, _drawable(found['median'][order, kind]), '-', color=colour, lw=1, label=f'{name}, median')
    ax.set_yscale('log')
    ax.set_xlabel('temperature (K)')
    ax.set_ylabel(MEASURES[measure])
    ax.legend(frameon=False, fontsize=8)


def draw_against_place(ax: Any, found: Mapping[str, Any], *, measure: str = 'gamma') -> None:
    """Draw the largest measure in slabs along the three cell vectors, a line for each vector and element."""
    place = np.asarray(found['place'])
    centres = (np.arange(place.shape[1]) + 0.5) / place.shape[1]
    for kind, number in enumerate(found['number']):
        for axis, style in enumerate(('-', '--', ':')):
            label = f'{chemical_symbols[number]}, along {"abc"[axis]}'
            values = _drawable(place[axis, :, kind])
            ax.plot(centres, values, style, color=f'C{kind}', drawstyle='steps-mid', label=label)
    ax.set_yscale('log')
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel('position along the cell vector (fraction)')
    ax.set_ylabel(MEASURES[measure])
    ax.legend(frameon=False, fontsize=8)


def _drawable(values: Any) -> Any:
    """Return values with NaN where they are not finite or not above 0: a logarithmic axis shows neither."""
    values = np.asarray(values, dtype=float)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
