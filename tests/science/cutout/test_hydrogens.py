"""Hydrogens of a network keep the atom they hang on: a cap in its place would make a molecule of two hydrogens."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from cutout_parents import shaken

from aiida_pyacemaker.science.config import CutoutConfig
from aiida_pyacemaker.science.cutout import RejectedCutoutError
from aiida_pyacemaker.science.cutout.caps import Caps
from aiida_pyacemaker.science.cutout.label_geometry import CutRequest
from aiida_pyacemaker.science.cutout.policies.covalent import _check_hydrogens, cut_covalent
from aiida_pyacemaker.science.cutout.policies.parity import Cluster
from aiida_pyacemaker.science.cutout.shells import survey
from aiida_pyacemaker.science.cutout.theory import LabelTheory
from aiida_pyacemaker.science.frames import SHELL_CAP
from aiida_pyacemaker.science.images import index_frame

BOND_OF_H2_A = 0.9  # at most


@pytest.fixture(scope='module')
def hydrogenated_vacancy():
    """Silicon with four hydrogens in the place of an atom, and the atoms around it."""
    atoms = bulk('Si', 'diamond', a=5.43, cubic=True) * (3, 3, 3)
    around = np.argsort(atoms.get_distances(100, range(len(atoms)), mic=True))[1:5]
    centre, bonds = atoms.positions[100].copy(), atoms.get_distances(100, around, mic=True, vector=True)
    del atoms[100]
    atoms = shaken(atoms + Atoms('H4', [centre + bond * (1 - 1.48 / np.linalg.norm(bond)) for bond in bonds]), 0.05)
    near = np.argsort(np.linalg.norm(atoms.positions - centre, axis=1))
    return atoms, near[:30].tolist()


@pytest.mark.parametrize('config', [CutoutConfig(core_radius=0.0, buffer_radius=1.0), CutoutConfig()])
def test_no_hydrogen_of_the_frame_becomes_a_molecule_with_a_cap(hydrogenated_vacancy, config):
    atoms, near = hydrogenated_vacancy
    frame = index_frame(atoms)
    seen = 0
    for epicentre in near if config.core_radius == 0 else near[::3]:
        request = CutRequest(frame=frame, epicentre=epicentre, config=config, theory=LabelTheory())
        label = cut_covalent(request)
        own = np.flatnonzero((label.atoms.numbers == 1) & (label.shell != SHELL_CAP))
        seen += len(own)
        assert not len(neighbor_list('i', label.atoms, {('H', 'H'): BOND_OF_H2_A}))
        for row in own:  # each with the bond that it has in the frame
            lengths = label.atoms.get_distances(row, range(len(label.atoms)))
            assert ((lengths < 1.9) & (label.atoms.numbers == 14)).any()
    assert seen > 10


def test_a_cap_on_a_hydrogen_is_refused(hydrogenated_vacancy):
    atoms, near = hydrogenated_vacancy
    request = CutRequest(
        frame=index_frame(atoms), epicentre=near[0], config=CutoutConfig(core_radius=0.0), theory=LabelTheory()
    )
    surroundings = survey(request, margin_bonds=1)
    for number in (14, 1):
        row = int(np.flatnonzero(surroundings.images.numbers == number)[0])
        caps = Caps(positions=np.zeros((1, 3)), hosts=np.array([row]), replaced=np.array([0]))
        if number == 14:
            _check_hydrogens(surroundings, Cluster(members={row}, caps=caps))
            continue
        with pytest.raises(RejectedCutoutError, match='bond of a hydrogen is cut'):
            _check_hydrogens(surroundings, Cluster(members={row}, caps=caps))
