"""Imports go down the floors only, and the two lowest floors know no AiiDA."""

import ast
from pathlib import Path

import pytest

import aiida_pyacemaker

ROOT = Path(aiida_pyacemaker.__file__).parent
FLOORS = {
    'science': 1,
    'tasks': 2,
    'data': 3,
    'calculations': 4,
    'parsers': 5,
    'workflows': 6,
    'report': 7,
    'cli': 8,
}
MODULES = sorted(path for path in ROOT.rglob('*.py') if len(path.relative_to(ROOT).parts) > 1)


def imported_modules(path):
    """Absolute names of every module that a file imports, also inside functions."""
    package = ['aiida_pyacemaker', *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield '.'.join([*base, *(node.module or '').split('.')]).strip('.')


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    floor = FLOORS[path.relative_to(ROOT).parts[0]]
    for module in imported_modules(path):
        parts = module.split('.')
        if parts[0] == 'aiida_pyacemaker' and len(parts) > 1:
            assert FLOORS[parts[1]] <= floor, f'{path.name} imports {module}, which lies above it'
        if floor <= FLOORS['tasks']:
            assert parts[0] != 'aiida', f'{path.name} imports {module}; science and tasks know no AiiDA'


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_profile_is_loaded_at_import(path):
    for node in ast.parse(path.read_text()).body:
        called = [item.func for item in ast.walk(node) if isinstance(item, ast.Call)] if isinstance(
            node, ast.Expr | ast.Assign | ast.AnnAssign
        ) else []
        names = {getattr(func, 'id', getattr(func, 'attr', '')) for func in called}
        assert not names & {'load_profile', 'Dict', 'Float', 'Int', 'Str', 'List', 'Bool'}
