"""The baseline as a table file of LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .pair import PairBaseline, PairTerm

TABLE_POINTS = 14000  # of `pair_style table spline`, and the rows in the file: LAMMPS interpolates once
TABLE_START = 0.2  # Å; LAMMPS stops with an error when a pair is closer


def lammps_table(term: PairTerm) -> NDArray[np.float64]:
    """Return (TABLE_POINTS, 3) distance Å, energy eV, force eV/Å (-dE/dr), evenly spaced in r²."""
    squares = np.linspace(TABLE_START**2, term.end**2, TABLE_POINTS)
    distance = np.sqrt(squares)
    energy, slope = term.evaluate(distance)
    return np.column_stack([distance, energy, -slope])


def write_lammps_table(baseline: PairBaseline, path: str | Path) -> None:
    """Write one section 'A_B' a pair (units metal) for ``pair_style table spline TABLE_POINTS``."""
    with Path(path).open('w') as handle:
        handle.write(f'# baseline {baseline.kind}, eV and Å; pair_style table spline {TABLE_POINTS}  UNITS: metal\n')
        for key, term in baseline.pairs.items():
            rows = lammps_table(term)
            handle.write(f'\n{key.replace("-", "_")}\nN {len(rows)} RSQ {rows[0, 0]:.17g} {rows[-1, 0]:.17g}\n\n')
            numbered = (
                f'{index} {r:.17g} {e:.17g} {f:.17g}\n' for index, (r, e, f) in enumerate(rows.tolist(), start=1)
            )
            handle.writelines(numbered)
