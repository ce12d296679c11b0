"""``aiida-pyacemaker pseudos``: install a family of pseudopotentials, look at those there are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from ase.data import atomic_numbers

from .machine import Finding
from .pseudos import collect_headers, ensure_family, ensure_sssp
from .setup import existing_families, print_findings
from .status import use_profile

SSSP = 'sssp'


def find_uncovered(elements: Iterable[str], covered: Iterable[str]) -> str | None:
    """Return a message that names the ``elements`` that are not ``covered``, or ``None``; symbols of any case."""
    wanted = [element.strip().capitalize() for element in elements if element.strip()]
    unknown = [element for element in wanted if element not in atomic_numbers]
    if unknown:
        return f'{", ".join(unknown)} is no element'
    missing = sorted(set(wanted) - set(covered))
    return f'no file for {", ".join(missing)}; there are {", ".join(sorted(covered))}' if missing else None


def install_files(paths: list[Path], elements: list[str], **options: Any) -> Finding:
    """Make a family of UPF files, when all are of one functional and cover ``elements``; else say what is wrong."""
    try:
        headers = collect_headers(paths, options['functional'])
        uncovered = find_uncovered(elements, [header.element for header in headers])
        if uncovered:
            return Finding(what='pseudopotentials', state='refused', detail=uncovered, remedy='add files for them')
        return ensure_family(headers, options['family'], options['cutoffs'])
    except (ValueError, OSError) as error:
        return Finding(what='pseudopotentials', state='refused', detail=str(error))


def install_sssp(protocol: str, profile: str, elements: list[str]) -> Finding:
    """Download the SSSP family unless it is there, and hold it against ``elements``."""
    from aiida import orm

    finding = ensure_sssp(protocol, profile)
    if finding.state == 'missing':
        return finding
    uncovered = find_uncovered(elements, orm.load_group(finding.detail).elements)
    if uncovered is None:
        return finding
    return Finding(what='pseudopotentials', state='refused', detail=uncovered, remedy='give UPF files for them')


@click.group('pseudos')
def pseudos_group() -> None:
    """Install families of pseudopotentials; list those there are."""


@pseudos_group.command('install')
@click.argument('sources', nargs=-1, required=True, metavar='DIR|FILE...|sssp')
@click.option('-p', '--profile', help='AiiDA profile. Default: your default profile.')
@click.option('--elements', default='', help='Elements that must be covered, as Si,H: refused otherwise.')
@click.option('--functional', help='Take only the UPF files of this functional (LDA, PBE, PBESOL, ...).')
@click.option('--family', help='Label of the family. Default: pyacemaker/FUNCTIONAL.')
@click.option('--cutoffs', nargs=2, type=float, help='Cut-offs for wavefunctions and density, in Ry.')
@click.option('--protocol', type=click.Choice(['efficiency', 'precision']), default='efficiency', help='Of SSSP.')
def install_command(
    sources: tuple[str, ...], profile: str | None, elements: str, protocol: str, **options: Any
) -> None:
    """Install a family from UPF files and folders of them, or the SSSP 1.3 for PBE (network).

    All files must be of one functional, one file an element. A family that exists is left alone.
    """
    wanted, paths = elements.split(','), [Path(source) for source in sources if source != SSSP]
    lost = [str(path) for path in paths if not path.exists()]
    if lost or (SSSP in sources and len(sources) > 1):
        message = f'{", ".join(lost)} does not exist' if lost else f'{SSSP} or files, not both'
        raise click.BadParameter(message, param_hint='DIR|FILE...|sssp')
    name = use_profile(profile)
    finding = install_files(paths, wanted, **options) if paths else install_sssp(protocol, name, wanted)
    print_findings([finding])
    if finding.state in ('refused', 'missing'):
        raise SystemExit(1)


@pseudos_group.command('list')
@click.option('-p', '--profile', help='AiiDA profile. Default: your default profile.')
def list_command(profile: str | None) -> None:
    """List the families of the profile."""
    use_profile(profile)
    print_findings([existing_families()])
