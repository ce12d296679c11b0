"""``potential info`` and ``potential laws``: what a potential is, and whether it behaves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from .loading import AS_JSON, takes_potential
from .output import print_json, print_table

if TYPE_CHECKING:
    from ...science.student import Student


@click.command('info')
@takes_potential()
@AS_JSON
def info_command(student: Student, as_json: bool) -> None:
    """Say what POTENTIAL (folder, .yaml, .yace, PK or UUID) consists of, and whether its dimers repel."""
    found = describe(student)
    if as_json:
        print_json(found)
        return
    print_table('elements', tuple(found['elements'][0]), [tuple(row.values()) for row in found['elements']])
    print_table('bonds', tuple(found['bonds'][0]), [tuple(row.values()) for row in found['bonds']])
    print_table('short range', tuple(found['short_range'][0]), [tuple(row.values()) for row in found['short_range']])
    whole = {key: value for key, value in found.items() if not isinstance(value, list)}
    print_table('potential', ('what', 'value'), list(whole.items()))


def describe(student: Student) -> dict[str, Any]:
    """Return plain values: rows an element, rows a pair, rows of the repulsion of dimers, and the whole."""
    import numpy as np

    from ...science.ace.quality import short_range_report

    potential, active_set, baseline = student.potential, student.active_set, student.baseline
    elements = []
    for element, functions, embedding in zip(
        potential.elements, potential.functions, potential.embeddings, strict=True
    ):
        orders = Counter(len(function.mus) + 1 for function in functions)
        row = {
            'element': element,
            'functions': len(functions),
            'by body order': ' '.join(f'{order}:{count}' for order, count in sorted(orders.items())),
            'embedding': 'linear' if embedding.is_linear else f'{embedding.kind} {list(embedding.parameters)}',
            'E0 (eV)': potential.reference_energies[element],
        }
        if active_set is not None:
            row['condition of active set'] = float(np.linalg.cond(active_set.inverses[element]))
        elements.append(row)
    bonds = [
        {
            'bond': f'{potential.elements[centre]}-{potential.elements[neighbour]}',
            'radial base': bond.base,
            'n max': bond.n_max,
            'l max': bond.l_max,
            'cut-off (Å)': bond.cutoff,
            'inner cut-off (Å)': bond.inner_cutoff,
            'inner cut-off type': bond.inner_cutoff_type,
            'core repulsion': list(bond.core_repulsion),
        }
        for (centre, neighbour), bond in sorted(potential.bonds.items())
    ]
    repulsion = [{'pair': pair, **row} for pair, row in short_range_report(potential, baseline).items()]
    return {
        'elements': elements,
        'bonds': bonds,
        'short_range': repulsion,
        'functions': int(sum(potential.n_functions)),
        'densities': potential.n_densities,
        'linear': potential.is_linear,
        'digest of the basis': potential.digest,
        'active set': active_set is not None,
        'baseline': 'none' if baseline is None else f'{baseline.kind}, ends at {baseline.cutoff:.3f} Å',
    }


@click.command('laws')
@takes_potential()
@click.option('--skip', multiple=True, metavar='LAW', help='A law not to try; may be repeated.')
@AS_JSON
def laws_command(student: Student, skip: tuple[str, ...], as_json: bool) -> None:
    """Try the laws of nature on POTENTIAL; exit with 1 when one is broken."""
    from dataclasses import asdict

    from ...science.laws import check_laws

    try:
        findings = check_laws(student, skip=skip)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({finding.law: {**asdict(finding), 'holds': finding.holds} for finding in findings})
    else:
        rows = [(f.law, f.holds if f.applies else None, f.deviation, f.tolerance, f.detail) for f in findings]
        print_table('laws', ('law', 'holds', 'deviation', 'tolerance', 'worst'), rows)
    if not all(finding.holds for finding in findings):
        raise click.exceptions.Exit(1)
