"""What the header of a UPF file (version 1 or 2) says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

HEADER_BYTES = 40_000
SPELLINGS = {
    'SLA PZ NOGX NOGC': 'LDA',
    'LDA': 'LDA',
    'PZ': 'LDA',
    'SLA PW PBE PBE': 'PBE',
    'SLA PW PBX PBC': 'PBE',
    'PBE': 'PBE',
    'SLA PW PSX PSC': 'PBESOL',
    'PBESOL': 'PBESOL',
    'SLA LYP B88 BLYP': 'BLYP',
    'SLA PW TPSS TPSS': 'TPSS',
}


@dataclass(frozen=True, kw_only=True)
class UpfHeader:
    """Element, functional and suggested cut-offs (Ry; ``None`` when it suggests none)."""

    element: str
    functional: str
    cutoff_wfc: float | None
    cutoff_rho: float | None


def read_header(text: str) -> UpfHeader:
    """Return what the beginning of a UPF file says; ``ValueError`` when it names no element or functional."""
    element = _first(text, r'element\s*=\s*"\s*([A-Za-z]{1,2})\s*"', r'^\s*([A-Za-z]{1,2})\s+Element\b')
    functional = _first(text, r'functional\s*=\s*"([^"]*)"', r'^\s*(.+?)\s+Exchange-Correlation functional')
    if element is None or functional is None:
        raise ValueError('no element or functional in the header, expected UPF')
    spelled = ' '.join(functional.upper().split()[:4])
    return UpfHeader(
        element=element.capitalize(),
        functional=SPELLINGS.get(spelled, spelled),
        cutoff_wfc=_number(text, r'wfc_cutoff\s*=\s*"\s*([^"]*)"'),
        cutoff_rho=_number(text, r'rho_cutoff\s*=\s*"\s*([^"]*)"'),
    )


def check_functionals(headers: Mapping[str, str], *, port: str) -> str | None:
    """Return a message that names the elements of each functional when ``headers`` (element: text) mix several."""
    by_functional: dict[str, list[str]] = {}
    for element, text in sorted(headers.items()):
        try:
            by_functional.setdefault(read_header(text).functional, []).append(element)
        except ValueError:  # a file that says nothing of itself is left to the program that reads it
            continue
    if len(by_functional) < 2:
        return None
    rows = '; '.join(f'{name}: {", ".join(elements)}' for name, elements in sorted(by_functional.items()))
    return f'{port}: mixed functionals, expected one ({rows}): take all from one family'


def _first(text: str, *patterns: str) -> str | None:
    for pattern in patterns:
        match = re.search(pattern, text, re.MULTILINE)
        if match:
            return match.group(1)
    return None


def _number(text: str, pattern: str) -> float | None:
    found = _first(text, pattern)
    value = float(found.replace('D', 'e').replace('d', 'e')) if found else 0.0
    return value if value > 0 else None
