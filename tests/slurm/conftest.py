"""What both queues are asked to do: label rattled silicon cells."""

import os
import shutil

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData
from ase.build import bulk

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain

N_LABELS = int(os.environ.get('PYACEMAKER_SLURM_LABELS', '4'))
CHEAP = {'ecutwfc': 8.0, 'ecutrho': 32.0, 'kpoints_distance': 1.2, 'conv_thr_per_atom': 1e-6, 'max_concurrent': 2}


@pytest.fixture
def label_through(aiida_code_installed):
    """Return a function that puts ``N_LABELS`` labels through the queue of a computer and returns their runs."""

    def label(computer, **options):
        code = aiida_code_installed(
            label=f'pw-{computer.label}',
            computer=computer,
            default_calc_job_plugin='quantumespresso.pw',
            filepath_executable=shutil.which('pw.x'),
            with_mpi=False,
            prepend_text='export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1',
        )
        frames = []
        for seed in range(N_LABELS):
            frames.append(bulk('Si', 'diamond', a=5.43))
            frames[-1].rattle(0.05, seed=seed)
        builder = DftLabelWorkChain.get_builder_from_protocol(
            code,
            dataset=AtomicDatasetData.from_atoms(*frames),
            pseudos={'Si': UpfData('/usr/share/espresso/pseudo/Si.pz-vbc.UPF')},
            protocol='fast',
            overrides={'dft': CHEAP},
            options={'withmpi': False, 'max_wallclock_seconds': 600, **options},
        )
        outputs, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        assert len(outputs['labels']['part_000']) == N_LABELS
        runs = [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]
        numbers = {run.get_job_id() for run in runs}
        assert len(numbers) == len(runs) >= N_LABELS and all(number.isdigit() for number in numbers)
        return runs

    return label
