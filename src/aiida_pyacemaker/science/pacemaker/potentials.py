"""Potential files of pacemaker: which are whole, and which a fit may start from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
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
    trimmed = trim_radial(potential)
    if trimmed is potential:
        Path(target).write_text(_FIT_CYCLES.sub('', Path(source).read_text()))
    else:
        trimmed.write_yaml(target)
    return trimmed


def trim_radial(potential: AcePotential) -> AcePotential:
    """Return the same potential with no radial function that no basis function uses; itself where there is none.

    TensorPotential wants as many radial base functions of a pair as there are functions of one factor.
    ``ValueError`` when a radial function that is used is made of one that would go.
    """
    used: dict[tuple[int, int], tuple[int, int, int]] = {}
    for centre, functions in enumerate(potential.functions):
        for mu, n, momentum, rank in (
            (*factor, len(function.mus)) for function in functions
            for factor in zip(function.mus, function.ns, function.ls, strict=True)
        ):  # fmt: skip
            n_base, n_max, l_max = used.get((centre, mu), (1, 1, 0))
            found = (max(n_base, n), n_max, l_max) if rank == 1 else (n_base, max(n_max, n), max(l_max, momentum))
            used[centre, mu] = used[mu, centre] = found
    bonds = {}
    for pair, bond in potential.bonds.items():
        n_base, n_max, l_max = used.get(pair, (1, 1, 0))
        kept = bond.coefficients[:n_max, : l_max + 1]
        if kept[..., n_base:].any():
            names = ' '.join(potential.elements[index] for index in pair)
            raise ValueError(
                f'the radial functions of {names} need more than the {n_base} base functions that have a function of '
                'one factor: pacemaker cannot fit on; raise number_of_functions_per_element'
            )
        bonds[pair] = replace(bond, coefficients=np.ascontiguousarray(kept[..., :n_base]))
    same = all(bonds[pair].coefficients.shape == bond.coefficients.shape for pair, bond in potential.bonds.items())
    return potential if same else replace(potential, bonds=bonds)
