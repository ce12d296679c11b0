"""The root's inputs, small: what several of its tests start from."""

from pathlib import Path

import pytest
from aiida import orm
from ase.build import bulk

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.workflows.hierarchical import HierarchicalDistillationWorkChain
from aiida_pyacemaker.workflows.trainers import read_blocks

PSEUDOS = Path('/usr/share/espresso/pseudo')
SMALL = {
    'distillation': {
        'n_selected': 14,
        'pool': {'n_strained': 10, 'n_rattled': 8, 'n_vacancy': 0, 'n_md_frames': 0, 'n_dimers': 10, 'max_atoms': 8},
    },
    'fit': {'number_of_functions_per_element': 20},
    'validation': {'tolerance_elastic': 1e-6, 'md_steps': 20, 'max_attempts': 2},
}


@pytest.fixture
def teacher(teacher_files, finished, aiida_profile):
    """The silicon committee as a stored node, read once a session: that takes seconds."""
    from aiida_pyacemaker.data.teacher import TeacherModelData

    query = orm.QueryBuilder().append(TeacherModelData, filters={'id': finished.get('teacher', -1)})
    if not query.count():
        node = TeacherModelData.from_files(teacher_files, source='examples/silicon', licence='MIT').store()
        finished['teacher'] = node.pk
    return orm.load_node(finished['teacher'])


@pytest.fixture
def pseudos(aiida_profile):
    """Norm-conserving LDA silicon and hydrogen."""
    from aiida_pseudo.data.pseudo import UpfData

    return {name: UpfData(PSEUDOS / f'{name}.pz-vbc.UPF').store() for name in ('Si', 'H')}


@pytest.fixture
def make_builder(task_code, lammps_code, pw_code, teacher, silicon_prototypes, pseudos):
    """Return a builder of a small loop, with anything replaced."""

    def make(attempts=2, **changes):
        crystal = AtomicDatasetData.from_atoms(bulk('Si', 'diamond', a=5.43, cubic=True))
        values = {
            'codes': {'task': task_code, 'lammps': lammps_code, 'pw': pw_code},
            'structures': {'prototypes': silicon_prototypes, 'md_structure': crystal},
            'teacher': teacher,
            'pseudos': pseudos,
            'protocol': 'fast',
            'overrides': {**SMALL, 'validation': {**SMALL['validation'], 'max_attempts': attempts}},
        } | changes
        return HierarchicalDistillationWorkChain.get_builder_from_protocol(values.pop('codes'), **values)

    return make


@pytest.fixture
def make_builder_from(make_builder):
    """Return a builder of a loop over eight atoms of silicon that starts with what a distillation left."""

    def make(distilled, **overrides):
        fit = distilled.inputs.fit.get_dict()
        blocks, rows = read_blocks(distilled.outputs)
        return make_builder(
            overrides={**overrides, 'fit': fit}, potential=distilled.outputs.potential, blocks=blocks, rows=rows
        )

    return make
