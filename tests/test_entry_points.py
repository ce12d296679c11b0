"""What the package promises to AiiDA: every entry point loads, explains its ports and names its failures."""

import re
from importlib.metadata import distribution

import pytest
from aiida.engine import Process
from aiida.engine.processes.ports import PortNamespace

ENTRY_POINTS = {
    (entry.group, entry.name): entry
    for entry in distribution('aiida-pyacemaker').entry_points
    if entry.group.startswith('aiida.')
}
PROCESSES = [key for key in ENTRY_POINTS if key[0] in ('aiida.calculations', 'aiida.workflows')]


def names(keys):
    return ['/'.join(key) for key in keys]


def iter_ports(namespace, prefix=''):
    for name, port in namespace.items():
        if name == 'metadata':
            continue
        yield f'{prefix}{name}', port
        if isinstance(port, PortNamespace):
            yield from iter_ports(port, f'{prefix}{name}.')


def foreign_bases(process):
    """Return the process classes of others that a class of ours builds on."""
    return [
        base
        for base in process.__mro__
        if issubclass(base, Process) and base is not Process and not base.__module__.startswith('aiida_pyacemaker')
    ]


def own_exit_codes(process):
    """Exit codes that our classes declare, without those of the classes of others they build on."""
    inherited = set().union(*(set(base.spec().exit_codes) for base in foreign_bases(process)))
    return {name: code for name, code in process.spec().exit_codes.items() if name not in inherited}


def test_groups_are_complete():
    assert {group for group, _ in ENTRY_POINTS} == {
        'aiida.data', 'aiida.calculations', 'aiida.calculations.monitors', 'aiida.parsers', 'aiida.workflows'
    }
    assert all(name.startswith('pyacemaker.') for _, name in ENTRY_POINTS)


@pytest.mark.parametrize('key', ENTRY_POINTS, ids=names(ENTRY_POINTS))
def test_entry_point_loads(key):
    loaded = ENTRY_POINTS[key].load()
    assert loaded.__module__.startswith('aiida_pyacemaker.') and loaded.__doc__


@pytest.mark.parametrize('key', PROCESSES, ids=names(PROCESSES))
def test_every_port_has_help(key):
    process = ENTRY_POINTS[key].load()
    inherited = set()
    for base in foreign_bases(process):
        inherited |= {name for ports in (base.spec().inputs, base.spec().outputs) for name, _ in iter_ports(ports)}
    spec = process.spec()
    silent = {name for ports in (spec.inputs, spec.outputs) for name, port in iter_ports(ports) if not port.help}
    assert not silent - inherited


@pytest.mark.parametrize('key', PROCESSES, ids=names(PROCESSES))
def test_exit_codes_are_unique_sentences_in_their_classes(key):
    process = ENTRY_POINTS[key].load()
    codes = process.spec().exit_codes
    statuses = [code.status for code in codes.values()]
    assert len(statuses) == len(set(statuses))
    for name, code in own_exit_codes(process).items():
        assert 200 <= code.status < 800, name
        assert re.match(r'^[A-Z{`].*[.}]$', code.message), f'{name}: {code.message!r} is no sentence'


@pytest.mark.parametrize('key', [key for key in PROCESSES if key[0] == 'aiida.calculations'], ids=lambda key: key[1])
def test_calculation_has_a_parser_of_its_name_and_a_cache_version(key):
    calculation = ENTRY_POINTS[key].load()
    parser = ENTRY_POINTS['aiida.parsers', key[1]].load()
    assert calculation.spec().inputs['metadata']['options']['parser_name'].default == key[1]
    assert isinstance(calculation.CACHE_VERSION, int) and isinstance(parser.CACHE_VERSION, int)


@pytest.mark.parametrize('key', [key for key in PROCESSES if key[0] == 'aiida.calculations'], ids=lambda key: key[1])
def test_a_failed_calculation_is_never_served_from_the_cache(key):
    codes = own_exit_codes(ENTRY_POINTS[key].load())
    served = [name for name, code in codes.items() if code.status < 500 and not code.invalidates_cache]
    assert not served
