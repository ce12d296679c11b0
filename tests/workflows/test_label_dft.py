"""Real SCF runs in lanes: derivatives, order, budget, refusals."""

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData
from ase.build import bulk, molecule

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, HAS_STRESS, Frames
from aiida_pyacemaker.workflows.label_dft import DftLabelWorkChain, deal_lanes

PSEUDO_FOLDER = Path('/usr/share/espresso/pseudo')
FILES = {'Si': 'Si.pz-vbc.UPF', 'H': 'H.pz-vbc.UPF'}


@pytest.fixture
def pseudos(aiida_profile):
    return {element: UpfData(PSEUDO_FOLDER / name).store() for element, name in FILES.items()}


def dimer_cell(displacement=0.0, strain=0.0):
    atoms = bulk('Si', 'diamond', a=5.2 * (1 + strain))
    atoms.positions[1, 0] += 0.1 + displacement
    return atoms


def silane():
    atoms = molecule('SiH4')
    atoms.set_cell([7.0] * 3)
    atoms.center()
    return atoms


def labelled(frames, pw_code, pseudos, options, **inputs):
    builder = DftLabelWorkChain.get_builder_from_protocol(
        pw_code, dataset=AtomicDatasetData.from_frames(frames), pseudos=pseudos, protocol='fast', options=options,
        overrides={'dft': {'ecutwfc': 8.0, 'ecutrho': 32.0, 'kpoints_distance': 1.2, 'conv_thr_per_atom': 1e-10}},
    )
    for port, value in inputs.items():
        setattr(builder, port, value)
    return run_get_node(builder)


@pytest.mark.dft
def test_labels_are_derivatives_of_the_energy_in_the_order_of_the_input(pw_code, pseudos, serial_options):
    """Forces in eV/Å and stress in ASE's sign, against central differences of the energies of the same run."""
    step, strain = 0.02, 0.004
    structures = [
        silane(), dimer_cell(), dimer_cell(-step), dimer_cell(step), dimer_cell(strain=-strain), dimer_cell(strain=strain),
    ]
    outputs, node = labelled(Frames.from_atoms(structures), pw_code, pseudos, serial_options)
    assert node.is_finished_ok, node.exit_message
    frames = outputs['dataset'].get_frames()
    assert [len(frames.atoms(row)) for row in range(len(frames))] == [5, 2, 2, 2, 2, 2]
    force = -(frames.energy[3] - frames.energy[2]) / (2 * step)
    assert abs(frames.forces[frames.span(1)][1, 0] - force) < 0.05 * abs(force)
    assert frames.label_mask.tolist() == [HAS_ENERGY | HAS_FORCES] + [HAS_ENERGY | HAS_FORCES | HAS_STRESS] * 5
    pressure_work = (frames.energy[5] - frames.energy[4]) / (2 * strain) / structures[1].get_volume()
    print('stress', np.trace(frames.stress[1][:3] * np.eye(3)), pressure_work, force, frames.forces[frames.span(1)])
    assert node.outputs.report['n_scf'] == 6
