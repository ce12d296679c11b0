"""The three models that ship with the example, and a few frames of silicon."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from aiida_pyacemaker.science.frames import Frames
from aiida_pyacemaker.science.teacher import Teacher, load_teacher

MODELS = sorted((Path(__file__).parents[3] / 'examples/silicon/teachers').glob('*.model'))


@pytest.fixture(scope='session')
def models() -> list[Path]:
    assert len(MODELS) == 3
    return MODELS


@pytest.fixture(scope='session')
def teacher(models: list[Path]) -> Teacher:
    return load_teacher(models)


@pytest.fixture(scope='session')
def structures() -> list[Atoms]:
    rng = np.random.default_rng(5)
    cubic, slab = bulk('Si', a=5.45, cubic=True), bulk('Si', a=5.45, cubic=True)
    slab.center(vacuum=5.0, axis=2)
    slab.pbc = (True, True, False)
    silane = molecule('Si2H6')
    silane.center(vacuum=5.0)
    result = [cubic, slab, silane, bulk('Si', a=5.3), cubic * (2, 1, 1)]
    for atoms in result:
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
    return result


@pytest.fixture(scope='session')
def frames(structures: list[Atoms]) -> Frames:
    return Frames.from_atoms(structures)
