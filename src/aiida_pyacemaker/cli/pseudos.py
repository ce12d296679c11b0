"""A pseudopotential family from UPF files whose functional is read from their headers, or from SSSP."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..science.dft.upf import HEADER_BYTES, UpfHeader
from ..science.dft.upf import read_header as parse_header
from .machine import Finding, State


@dataclass(frozen=True, kw_only=True)
class UpfFile(UpfHeader):
    """A UPF file and what its header says."""

    path: Path


def read_header(path: Path) -> UpfFile:
    """Read element, functional and suggested cut-offs (UPF 1 and 2); ``ValueError`` names the file that is not UPF."""
    try:
        header = parse_header(path.read_bytes()[:HEADER_BYTES].decode(errors='replace'))
    except ValueError as error:
        raise ValueError(f'{path}: {error}: give other --pseudos') from error
    return UpfFile(path=path, **vars(header))


def collect_headers(paths: Sequence[Path], functional: str | None = None) -> list[UpfFile]:
    """Return one header an element from UPF files and folders of them, all of one functional.

    Mixed functionals, or two files for one element, are a ``ValueError`` that names the files; ``functional`` keeps
    only the files of that one.
    """
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    headers = [read_header(file) for file in files if file.suffix.lower() == '.upf' or file in paths]
    if functional:
        headers = [header for header in headers if header.functional == functional.upper()]
    if not headers:
        wanted = f' of functional {functional}' if functional else ''
        raise ValueError(f'no UPF file{wanted} in {", ".join(map(str, paths))}')
    by_functional: dict[str, list[str]] = {}
    by_element: dict[str, list[str]] = {}
    for header in headers:
        by_functional.setdefault(header.functional, []).append(header.path.name)
        by_element.setdefault(header.element, []).append(header.path.name)
    if len(by_functional) > 1:
        rows = '; '.join(f'{name}: {", ".join(names)}' for name, names in sorted(by_functional.items()))
        raise ValueError(f'mixed functionals, expected one ({rows}): choose with --functional or give single files')
    twice = {element: names for element, names in by_element.items() if len(names) > 1}
    if twice:
        rows = '; '.join(f'{element}: {", ".join(names)}' for element, names in sorted(twice.items()))
        raise ValueError(f'more than one file for an element ({rows}): give the files one by one with --pseudos')
    return headers


def ensure_family(headers: Sequence[UpfFile], label: str | None, cutoffs: tuple[float, float] | None) -> Finding:
    """Make the family ``label`` (default ``pyacemaker/FUNCTIONAL``) with cut-offs in Ry; an equal one is left alone."""
    from aiida import orm
    from aiida.plugins import DataFactory, GroupFactory

    label = label or f'pyacemaker/{headers[0].functional}'
    wanted = {header.element: hashlib.md5(header.path.read_bytes()).hexdigest() for header in headers}
    detail = f'{label}: {headers[0].functional}, {", ".join(sorted(wanted))}'
    group = orm.QueryBuilder().append(orm.Group, filters={'label': label}).first(flat=True)
    if group is None:
        with tempfile.TemporaryDirectory() as folder:
            for header in headers:
                shutil.copy(header.path, folder)
            family_type = GroupFactory('pseudo.family.cutoffs')
            group = family_type.create_from_folder(Path(folder), label, pseudo_type=DataFactory('pseudo.upf'))
        state: State = 'made'
    elif {element: pseudo.md5 for element, pseudo in group.pseudos.items()} != wanted:
        found = f'{label} exists with other files'
        return Finding(what='pseudopotentials', state='refused', detail=found, remedy='choose another --family')
    else:
        state = 'there'
    table = recommended_cutoffs(headers, cutoffs)
    if table is None:
        remedy = 'the headers suggest no cut-offs: give --cutoffs WFC RHO in Ry'
        if group.get_cutoff_stringencies():
            remedy = ''
        return Finding(what='pseudopotentials', state=state, detail=detail, remedy=remedy)
    if not group.get_cutoff_stringencies() or cutoffs:
        group.set_cutoffs(table, 'standard', unit='Ry')
        group.set_default_stringency('standard')
    return Finding(what='pseudopotentials', state=state, detail=detail)


def recommended_cutoffs(
    headers: Sequence[UpfFile], cutoffs: tuple[float, float] | None
) -> dict[str, dict[str, float]] | None:
    """Return element -> cut-offs in Ry, as given or as every header suggests; ``None`` when one suggests none."""
    table = {}
    for header in headers:
        wfc, rho = cutoffs or (header.cutoff_wfc, header.cutoff_rho)
        if wfc is None:
            return None
        table[header.element] = {'cutoff_wfc': wfc, 'cutoff_rho': max(rho or 0.0, 4 * wfc)}
    return table


def ensure_sssp(protocol: str, profile: str) -> Finding:
    """Download and install SSSP 1.3 PBE (``efficiency`` or ``precision``) unless it is there."""
    from aiida import orm

    label = f'SSSP/1.3/PBE/{protocol}'
    if orm.QueryBuilder().append(orm.Group, filters={'label': label}).count():
        return Finding(what='pseudopotentials', state='there', detail=label)
    program = Path(sys.executable).parent / 'aiida-pseudo'
    command = [str(program), '-p', profile, 'install', 'sssp', '-v', '1.3', '-x', 'PBE', '-p', protocol]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ['no message']
        remedy = 'it needs the network; offline: --pseudos DIR --cutoffs WFC RHO'
        return Finding(what='pseudopotentials', state='missing', detail=f'{label}: {lines[-1]}', remedy=remedy)
    return Finding(what='pseudopotentials', state='made', detail=label)
