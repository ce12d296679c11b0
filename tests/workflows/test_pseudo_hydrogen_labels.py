"""A cluster capped with pseudo-hydrogens, from `ld1.x` to a label of `pw.x`."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData
from ase import Atoms

from aiida_pyacemaker.calculations.pseudo_hydrogen import PseudoHydrogenCalculation
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.dft.pseudo_hydrogen import cap_charge
from aiida_pyacemaker.science.frames import SHELL_CAP, SHELL_CORE, Frames
from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain

PSEUDO_FOLDER = '/usr/share/espresso/pseudo'
CHEAP = {'dft': {'ecutwfc': 12.0, 'ecutrho': 48.0, 'vacuum': 2.5, 'conv_thr_per_atom': 1e-7}}


def capped_bond():
    """One Al-As bond of the crystal whose six cut bonds are closed, staggered; lengths in Å."""
    angles = np.radians([0, 120, 240])
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1) * np.sqrt(8) / 3
    below = 1.6 * (ring - [0, 0, 1 / 3])
    above = [0, 0, 2.43] + 1.5 * (ring * [-1, -1, 1] + [0, 0, 1 / 3])
    atoms = Atoms('AlAsH6', positions=[[0, 0, 0], [0, 0, 2.43], *below, *above])
    return Frames.from_atoms([atoms], shell=np.array([SHELL_CORE] * 2 + [SHELL_CAP] * 6))


@pytest.mark.dft
def test_caps_of_fractional_charge_are_kinds_of_their_own(ld1_code, pw_code, serial_options):
    names = {'Al': 'Al.pz-vbc.UPF', 'As': 'As.pz-bhs.UPF', 'H': 'H.pz-vbc.UPF'}
    pseudos = {element: UpfData(f'{PSEUDO_FOLDER}/{name}').store() for element, name in names.items()}
    caps = {}
    for host, valence in (('H13', 3), ('H33', 5)):
        made, node = run_get_node(
            PseudoHydrogenCalculation,
            code=ld1_code,
            charge=orm.Float(cap_charge(valence, 4)),
            functional=orm.Str('LDA'),
            pseudos=pseudos,
        )
        assert node.is_finished_ok, node.exit_message
        caps[host] = made['pseudo']
    builder = DftLabelWorkChain.get_builder_from_protocol(
        pw_code,
        dataset=AtomicDatasetData.from_frames(capped_bond()),
        pseudos={**pseudos, **caps},
        protocol='fast',
        overrides=CHEAP,
        options=serial_options,
    )
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    frames = outputs['labels']['part_000'].get_frames()
    calculation = outputs['labels']['part_000'].provenance(0).creator
    structure = calculation.inputs.structure
    assert [site.kind_name for site in structure.sites] == ['Al', 'As', *['H13'] * 3, *['H33'] * 3]
    used = {kind: calculation.inputs.pseudos[kind] for kind in structure.get_kind_names()}
    assert {kind: used[kind].pk for kind in caps} == {kind: node.pk for kind, node in caps.items()}
    assert used['H13'].creator.process_class is PseudoHydrogenCalculation
    electrons = calculation.outputs.output_parameters.get_dict()['number_of_electrons']
    assert electrons == pytest.approx(3 + 5 + 3 * 1.25 + 3 * 0.75)
    check_symmetry(frames.forces)


def check_symmetry(forces):
    """Three mirror planes hold the axis: no force across it on Al and As, equal forces on equal caps."""
    assert np.abs(forces[:2, :2]).max() < 0.02  # eV/Å; the grid of 48 Ry does not know the threefold axis
    for caps in (forces[2:5], forces[5:8]):
        assert np.ptp(np.linalg.norm(caps, axis=1)) < 0.05


@pytest.mark.parametrize(('valence', 'coordination', 'charge'), [(4, 4, 1), (3, 4, 1.25), (6, 4, 0.5), (6, 6, 1)])
def test_two_electrons_a_bond(valence, coordination, charge):
    assert cap_charge(valence, coordination) == charge
    with pytest.raises(ValueError, match='leaves no cap'):
        cap_charge(2.0 * coordination, coordination)


def test_a_cap_of_another_functional_is_refused(pw_code):
    pseudos = {'Si': UpfData(f'{PSEUDO_FOLDER}/Si.pz-vbc.UPF'), 'H14': UpfData(f'{PSEUDO_FOLDER}/H.pbe-kjpaw.UPF')}
    builder = DftLabelWorkChain.get_builder_from_protocol(
        pw_code, dataset=AtomicDatasetData.from_atoms(Atoms('Si')), pseudos=pseudos
    )
    with pytest.raises(ValueError, match=r'mixed functionals.*LDA: Si; PBE: H14'):
        run_get_node(builder)
