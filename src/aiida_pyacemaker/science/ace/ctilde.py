"""LAMMPS's C-tilde files (.yace): the couplings multiplied out, one entry per (μ, n, l)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .couplings import Amplitudes, symmetrised
from .pacemaker_yaml import array, number
from .potential import AcePotential


class CtildeFunction(NamedTuple):
    """Products of one (μ, n, l): m-tuples, their real coefficients in eV."""

    mus: tuple[int, ...]
    ns: tuple[int, ...]
    ls: tuple[int, ...]
    terms: Amplitudes


def ctilde_functions(potential: AcePotential, element: int) -> tuple[CtildeFunction, ...]:
    """Return the C-tilde functions of one centre element: c̃ = Σ over intermediate momenta of c × coupling."""
    merged: dict[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], Amplitudes] = {}
    start = int(potential.plan.offsets[element])
    for f, coefficient in zip(potential.functions[element], potential.linear_coefficients[start:], strict=False):
        terms = merged.setdefault((f.mus, f.ns, f.ls), {})
        labels = tuple(zip(f.mus, f.ns, strict=True))
        for ms, weight in symmetrised(labels, f.ls, f.lint).items():
            terms[ms] = terms.get(ms, 0.0) + weight * float(coefficient)
    return tuple(CtildeFunction(*key, terms) for key, terms in merged.items())


def write_yace(potential: AcePotential, path: Path) -> None:
    """Write a potential for stock LAMMPS (``pair_style pace``); reference energies become ``E0``."""
    energies = np.array([potential.reference_energies[element] for element in potential.elements])
    lines = [f'elements: [{", ".join(potential.elements)}]', f'E0: {array(energies)}']
    lines += [f'deltaSplineBins: {number(potential.bin_width)}', 'embeddings:']
    embedding = 'FS_parameters: [1, 1], npoti: FinnisSinclairShiftedScaled, rho_core_cutoff: 100000'
    for element in range(len(potential.elements)):
        lines.append(f'  {element}: {{ndensity: 1, {embedding}, drho_core_cutoff: 250}}')
    lines += ['bonds:', *_bond_lines(potential), 'functions:']
    for element in range(len(potential.elements)):
        lines.append(f'  {element}:')
        lines += [_function_line(element, function) for function in ctilde_functions(potential, element)]
    path.write_text('\n'.join(lines) + '\n')


def _bond_lines(potential: AcePotential) -> Iterator[str]:
    """Yield one line an ordered element pair."""
    for (a, b), bond in sorted(potential.bonds.items()):
        values = {
            'nradmax': str(bond.n_max),
            'lmax': str(bond.l_max),
            'nradbasemax': str(bond.n_base),
            'radbasename': bond.base,
            'radparameters': array(np.array(bond.parameters)),
            'radcoefficients': array(bond.coefficients),
            'prehc': '0',
            'lambdahc': '0',
            'rcut': number(bond.cutoff),
            'dcut': number(bond.cutoff_width),
            'rcut_in': number(bond.inner_cutoff),
            'dcut_in': number(bond.inner_width),
            'inner_cutoff_type': 'distance',
        }
        yield f'  [{a}, {b}]: {{{", ".join(f"{key}: {value}" for key, value in values.items())}}}'


def _function_line(element: int, function: CtildeFunction) -> str:
    """Return the entry of one C-tilde function."""
    ms = [m for combination in function.terms for m in combination]
    values = {
        'mu0': element,
        'rank': len(function.mus),
        'ndensity': 1,
        'num_ms_combs': len(function.terms),
        'mus': list(function.mus),
        'ns': list(function.ns),
        'ls': list(function.ls),
        'ms_combs': ms,
        'ctildes': array(np.array(list(function.terms.values()))),
    }
    return '    - {' + ', '.join(f'{key}: {value}' for key, value in values.items()) + '}'
