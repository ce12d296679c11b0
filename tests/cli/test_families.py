"""``aiida-pyacemaker pseudos`` as a person runs it."""

import pytest
from click.testing import CliRunner

from aiida_pyacemaker.cli import main
from aiida_pyacemaker.cli.families import find_uncovered

PSEUDO_FOLDER = '/usr/share/espresso/pseudo'
SILICON, HYDROGEN = f'{PSEUDO_FOLDER}/Si.pz-vbc.UPF', f'{PSEUDO_FOLDER}/H.pz-vbc.UPF'


@pytest.fixture
def run(aiida_profile_clean, monkeypatch):
    monkeypatch.setenv('COLUMNS', '300')
    return lambda *arguments: CliRunner().invoke(main, ['pseudos', *arguments, '-p', aiida_profile_clean.name])


def test_a_family_is_installed_once_and_listed(run):
    from aiida import orm

    files = (SILICON, HYDROGEN, '--cutoffs', '16', '64', '--elements', 'si,H')
    first = run('install', *files)
    assert first.exit_code == 0, first.output
    assert 'made' in first.output and 'there' in run('install', *files).output
    family = orm.load_group('pyacemaker/LDA')
    assert family.get_recommended_cutoffs(elements='Si', unit='Ry') == (16.0, 64.0)
    assert 'pyacemaker/LDA' in run('list').output


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((SILICON, '--elements', 'Si,Ge'), 'no file for Ge; there are Si'),
        ((SILICON, f'{PSEUDO_FOLDER}/H.pbe-kjpaw.UPF'), 'mixed functionals, expected one (LDA: Si.pz-vbc.UPF; PBE:'),
        ((SILICON, 'sssp'), 'sssp or files, not both'),
        (('/no/such/folder',), '/no/such/folder does not exist'),
    ],
)
def test_nothing_is_installed_when_something_is_wrong(run, arguments, words):
    from aiida import orm

    done = run('install', *arguments)
    assert done.exit_code in (1, 2) and words in done.output
    assert orm.QueryBuilder().append(orm.Group, filters={'type_string': {'like': 'pseudo.family%'}}).count() == 0


def test_coverage():
    assert find_uncovered(['si', ' H ', ''], ['H', 'Si']) is None
    assert find_uncovered(['Xx'], ['H']) == 'Xx is no element'
