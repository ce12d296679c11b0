"""The potential that a report hands out runs as it lies there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.report.bundle import write_potential_bundle
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, Frames
from aiida_pyacemaker.tasks.ace_fit import AceFitTask
from aiida_pyacemaker.tasks.base import Progress

LMP = Path(sys.executable).parent / 'pyacemaker-lmp'


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    """Return a folder with a small copper potential, fitted to EMT."""
    structures = [bulk('Cu', cubic=True).repeat((2, 1, 1)) for _ in range(12)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.05 + 0.01 * seed, seed=seed)
        atoms.calc = EMT()
    frames = Frames.from_atoms(
        structures,
        energy=np.array([atoms.get_potential_energy() for atoms in structures]),
        forces=np.concatenate([atoms.get_forces() for atoms in structures]),
        label_mask=np.full(12, HAS_ENERGY | HAS_FORCES),
        config_type=np.full(12, 'rattled'),
    )
    folder = tmp_path / 'fit'
    folder.mkdir()
    monkeypatch.chdir(folder)
    frames.save('frames.npz')
    fit = {'number_of_functions_per_element': 20, 'cutoff': 4.5}
    AceFitTask(elements=('Cu',), datasets={'emt': 'frames.npz'}, fit=fit).run(Progress())
    return folder


@pytest.mark.usefixtures('aiida_profile')
def test_the_script_of_the_bundle_runs_to_its_end(fitted, tmp_path):
    from aiida_pyacemaker.data.ace_potential import AcePotentialData
    from aiida_pyacemaker.data.dataset import AtomicDatasetData

    folder = tmp_path / 'bundle'
    crystal = AtomicDatasetData.from_atoms(bulk('Cu'))  # one atom: repeated, for it would have no temperature
    lines = write_potential_bundle(AcePotentialData.from_folder(fitted), crystal, folder)
    assert lines[0].startswith('pair_style hybrid/overlay pace/extrapolation table')
    assert all(line in (folder / 'README.md').read_text() for line in lines)
    done = subprocess.run([LMP, '-in', 'in.lmp'], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    text = (folder / 'log.lammps').read_text().splitlines()
    start = next(index for index, line in enumerate(text) if line.split()[:2] == ['Step', 'Temp'])
    stop = next(index for index, line in enumerate(text) if line.startswith('Loop time'))
    thermo = np.array([line.split() for line in text[start + 1 : stop]], dtype=float)
    assert thermo[-1, 0] == 500
    assert np.isfinite(thermo).all()
    assert 50 < thermo[1:, 1].mean() < 500  # K: thermostated at 300, starting from a crystal at rest
    assert (thermo[:, -1] > 0).all()  # the grade of the most extrapolating atom
