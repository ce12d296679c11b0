"""LAMMPS's C-tilde files (.yace): the couplings multiplied out, one entry per (μ, n, l)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.couplings import symmetrised
from ..potential import AcePotential
from .document import array, number

COUNT_KEY = 'number_of_functions'
EMBEDDING_KEYS = {
    'n_densities': 'ndensity',
    'parameters': 'FS_parameters',
    'kind': 'npoti',
    'rho_core_cut': 'rho_core_cutoff',
    'drho_core_cut': 'drho_core_cutoff',
}
BOND_KEYS = {
    'n_max': 'nradmax',
    'l_max': 'lmax',
    'n_base': 'nradbasemax',
    'base': 'radbasename',
    'parameters': 'radparameters',
    'coefficients': 'radcoefficients',
    'cutoff': 'rcut',
    'cutoff_width': 'dcut',
    'inner_cutoff': 'rcut_in',
    'inner_width': 'dcut_in',
    'inner_cutoff_type': 'inner_cutoff_type',
}


_Product = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class CtildeFunction(NamedTuple):
    """Products of one (μ, n, l): m-tuples and their real coefficients, (D,) each."""

    mus: tuple[int, ...]
    ns: tuple[int, ...]
    ls: tuple[int, ...]
    terms: dict[tuple[int, ...], NDArray[np.float64]]


def ctilde_functions(potential: AcePotential, element: int) -> tuple[CtildeFunction, ...]:
    """Return the C-tilde functions of one centre element: c̃ = Σ over intermediate momenta of c × coupling."""
    merged: dict[_Product, dict[tuple[int, ...], NDArray[np.float64]]] = {}
    start = sum(potential.n_functions[:element])
    for f, coefficients in zip(potential.functions[element], potential.coefficients[start:], strict=False):
        terms = merged.setdefault((f.mus, f.ns, f.ls), {})
        labels = tuple(zip(f.mus, f.ns, strict=True))
        for ms, weight in symmetrised(labels, f.ls, f.lint).items():
            terms[ms] = terms.get(ms, 0.0) + weight * coefficients
    return tuple(CtildeFunction(*key, terms) for key, terms in merged.items())


def write_yace(potential: AcePotential, path: Path) -> None:
    """
    Write a potential for stock LAMMPS (``pair_style pace``); reference energies become ``E0``.

    Every element gets the same number of densities, those it lacks with zero coefficients and prefactor: LAMMPS is
    silently wrong otherwise.
    """
    path.write_text('\n'.join(_lines(potential)) + '\n', encoding='utf-8')


def _lines(potential: AcePotential) -> Iterator[str]:
    energies = [potential.reference_energies[element] for element in potential.elements]
    yield from (f'elements: [{", ".join(potential.elements)}]', f'E0: {array(energies)}')
    yield from (f'deltaSplineBins: {number(potential.bin_width)}', 'embeddings:')
    for element, embedding in enumerate(potential.embeddings):
        yield f'  {element}: {_flow(_values(embedding, EMBEDDING_KEYS))}'
    products = [ctilde_functions(potential, element) for element in range(len(potential.elements))]
    yield from ('bonds:', *_bond_lines(potential), f'{COUNT_KEY}: {sum(map(len, products))}', 'functions:')
    for element, functions in enumerate(products):
        yield f'  {element}:' if functions else f'  {element}: []'
        for function in functions:
            yield f'    - {_flow(_function_values(element, function))}'


def _bond_lines(potential: AcePotential) -> Iterator[str]:
    """Yield one line an ordered element pair."""
    for (a, b), bond in sorted(potential.bonds.items()):
        values = _values(bond, BOND_KEYS)
        values['prehc'], values['lambdahc'] = (number(value) for value in bond.core_repulsion)
        yield f'  [{a}, {b}]: {_flow(values)}'


def _function_values(element: int, function: CtildeFunction) -> dict[str, object]:
    """Return the entry of one C-tilde function."""
    coefficients = np.array(list(function.terms.values()))
    return {
        'mu0': element,
        'rank': len(function.mus),
        'ndensity': coefficients.shape[1],
        'num_ms_combs': len(function.terms),
        'mus': list(function.mus),
        'ns': list(function.ns),
        'ls': list(function.ls),
        'ms_combs': [m for combination in function.terms for m in combination],
        'ctildes': array(coefficients.ravel()),
    }


def _values(value: object, keys: Mapping[str, str]) -> dict[str, object]:
    """Return the fields of an embedding or bond under their keys, as text that reads back to the same bits."""
    fields = {key: getattr(value, field) for field, key in keys.items()}
    return {key: found if isinstance(found, str) else array(found) for key, found in fields.items()}


def _flow(values: dict[str, object]) -> str:
    return '{' + ', '.join(f'{key}: {value}' for key, value in values.items()) + '}'
