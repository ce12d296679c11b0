"""The silicon example's inputs, shared by ``demo.py`` and ``submit.py``: structures, teachers, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ELEMENTS = ['Si']
PSEUDOS = [Path('/usr/share/espresso/pseudo') / name for name in ('Si.pz-vbc.UPF', 'H.pz-vbc.UPF')]
CUTOFFS_RY = (16.0, 64.0)
FAMILY = 'pyacemaker/LDA'

# on top of protocol `fast`: a crystal with a vacancy is heated until it meets what the potential never saw
OVERRIDES: dict[str, Any] = {
    'md': {'n_steps': 3000, 'temperature_start_K': 300.0, 'temperature_end_K': 1200.0},
    'strategy': {'budget': {'n_held_out': 4}},
}


def make_structures() -> dict[str, Any]:
    """Return the prototype crystal, the MD's start and the start of the walker whose frames are kept out."""
    from ase.build import bulk

    from aiida_pyacemaker.data.dataset import AtomicDatasetData

    crystal = bulk('Si', 'diamond', a=5.43)
    vacancy = bulk('Si', 'diamond', a=5.43, cubic=True).repeat((3, 3, 3))
    del vacancy[0]
    return {
        'prototypes': AtomicDatasetData.from_atoms(crystal),
        'md_structure': AtomicDatasetData.from_atoms(vacancy),
    }


def make_teacher() -> Any:
    """Return the committee that ``train_teachers.py`` made."""
    from aiida_pyacemaker.data.teacher import TeacherModelData

    files = sorted((HERE / 'teachers').glob('*.model'))
    return TeacherModelData.from_files(files, source='examples/silicon/train_teachers.py', licence='MIT')


def make_builder(*, protocol: str = 'fast', overrides: dict[str, Any] | None = None, seed: int = 1) -> Any:
    """Return the filled builder of the whole loop; the profile must be loaded and set up."""
    from aiida import orm
    from aiida.plugins import WorkflowFactory

    labels = {'task': 'pyacemaker-task', 'lammps': 'pyacemaker-lmp', 'pw': 'pw'}
    family = orm.load_group(FAMILY)
    return WorkflowFactory('pyacemaker.hierarchical').get_builder_from_protocol(
        {name: orm.load_code(f'{label}@localhost') for name, label in labels.items()},
        structures=make_structures(),
        teacher=make_teacher(),
        pseudos=family.get_pseudos(elements=(*ELEMENTS, 'H')),
        protocol=protocol,
        overrides=OVERRIDES if overrides is None else overrides,
        elements=ELEMENTS,
        seed=seed,
    )
