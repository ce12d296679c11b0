"""A magnet, an oxide and a cluster with hydrogen through the real ``pw.x``: what is known of each comes out."""

from pathlib import Path

import numpy as np
import pytest
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData
from ase.build import bulk, molecule

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.frames import HAS_STRESS
from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain

FOLDER = Path('/usr/share/espresso/pseudo')
NAMES = ('Fe.pz-nd-rrkjus.UPF', 'Mg.pz-n-vbc.UPF', 'O.pz-van_ak.UPF', 'Si.pz-vbc.UPF', 'H.pz-vbc.UPF')
DFT = {'ecutwfc': 16.0, 'ecutrho': 120.0, 'kpoints_distance': 1.2, 'conv_thr_per_atom': 1e-7, 'vacuum': 2.5}
IRON, OXIDE, CLUSTER = range(3)


def make_frames():
    """Return ferromagnetic iron, MgO with its O pushed along x, and disilane with its Si-Si bond stretched."""
    oxide = bulk('MgO', 'rocksalt', a=4.2)
    oxide.positions[1, 0] += 0.15
    cluster = molecule('Si2H6')
    axis = cluster.positions[1] - cluster.positions[0]
    side = (cluster.positions - cluster.get_center_of_mass()) @ axis > 0
    cluster.positions[side] += 0.4 * axis / np.linalg.norm(axis)
    return [bulk('Fe', 'bcc', a=2.85), oxide, cluster]


@pytest.fixture
def labelled(pw_code, serial_options):
    missing = [name for name in NAMES if not (FOLDER / name).is_file()]
    if missing:
        pytest.skip(f'no pseudopotentials {", ".join(missing)} in {FOLDER}: install quantum-espresso-data')
    builder = DftLabelWorkChain.get_builder_from_protocol(
        pw_code,
        dataset=AtomicDatasetData.from_atoms(*make_frames()),
        pseudos={name.split('.')[0]: UpfData(FOLDER / name) for name in NAMES},
        overrides={'dft': {**DFT, 'max_concurrent': 1}},
        options=serial_options,
    )
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    return outputs['labels']['part_000'].get_frames(), outputs['report'].get_dict()


@pytest.mark.dft
def test_magnet_oxide_and_cluster_are_labelled(labelled):
    frames, report = labelled
    assert report['n_labelled'] == len(frames) == 3 and report['failed'] == [], report
    assert [frames.theories[row]['nspin'] for row in frames.theory_id] == [2, 1, 1]
    assert [bool(mask & HAS_STRESS) for mask in frames.label_mask] == [True, True, False]
    total, _ = report['magnetisation_muB'][str(IRON)]
    assert 1.0 < abs(total) < 4.0, 'µB an iron atom'
    assert np.abs(frames.forces[frames.span(IRON)]).max() < 1e-3, 'an atom on a site of inversion feels no force'
    magnesium, oxygen = frames.forces[frames.span(OXIDE)]
    assert oxygen[0] < -0.5 and np.abs(magnesium + oxygen).max() < 0.1, 'the oxide pulls its O back'
    silicon = make_frames()[CLUSTER].positions[:2]
    axis = (silicon[1] - silicon[0]) / np.linalg.norm(silicon[1] - silicon[0])
    first, second = frames.forces[frames.span(CLUSTER)][:2] @ axis
    assert first > 0.5 and second < -0.5, 'the stretched bond pulls'
