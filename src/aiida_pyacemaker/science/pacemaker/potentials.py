"""Potential files of pacemaker: which are whole, and which a fit may start from."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ..ace import AcePotential

_FIT_CYCLES = re.compile(r'^\s+_fit_cycles:.*\n', re.MULTILINE)
_NOT_FINITE = re.compile(r'[\[,:] *[-+]?\.?(?:nan|inf)\b', re.IGNORECASE)


class NotFinite(ValueError):
    """A potential has coefficients that are NaN or inf."""


def read_fitted(path: str | Path, n_functions: int | None = None) -> AcePotential:
    """Read a potential that pacemaker wrote; ``ValueError`` for one that is cut off.

    A file cut off between two lines is a smaller potential: ``n_functions`` is how many it should have. Raises
    ``NotFinite``, a ``ValueError``, for coefficients that are NaN or inf.
    """
    name = Path(path).name
    try:
        if _NOT_FINITE.search(Path(path).read_text()):
            raise NotFinite(f'{name} has coefficients that are NaN or inf')
        potential = AcePotential.read(path)
    except NotFinite:
        raise
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f'{name} is no whole potential: {" ".join(str(error).split())}') from error
    if n_functions is not None and sum(potential.n_functions) != n_functions:
        raise ValueError(f'{name} has {sum(potential.n_functions)} functions, expected {n_functions}')
    return potential


def write_start(source: str | Path, target: str | Path, n_functions: int | None = None) -> AcePotential:
    """Copy a potential for pacemaker to go on from; return it.

    The mark of finished fit cycles is left out: with it pacemaker does nothing and says that all is well.
    ``ValueError`` for a file that is not whole, and for an inner cut-off by density or ZBL: TensorPotential fits
    without those cores, which LAMMPS then adds (26 eV on one frame).
    """
    potential = read_fitted(source, n_functions)
    strange = sorted({bond.inner_cutoff_type for bond in potential.bonds.values()} - {'distance'})
    if strange:
        raise ValueError(
            f'{Path(source).name} has inner_cutoff_type {", ".join(strange)}, expected distance: start from the file '
            'before the core was added (interim_potential_best_cycle.yaml)'
        )
    Path(target).write_text(_FIT_CYCLES.sub('', Path(source).read_text()))
    return potential
