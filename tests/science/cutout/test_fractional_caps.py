"""Every cut bond gets two electrons, or the cluster is refused: compounds of four bonds an atom."""

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from cutout_parents import gallium_arsenide, shaken

from aiida_pyacemaker.science.config import CutoutConfig
from aiida_pyacemaker.science.cutout import LabelTheory, RejectedCutoutError
from aiida_pyacemaker.science.cutout.label_geometry import CutRequest
from aiida_pyacemaker.science.cutout.policies.covalent import cut_covalent, fractional_hosts
from aiida_pyacemaker.science.dft.pseudo_hydrogen import cap_charge
from aiida_pyacemaker.science.images import index_frame

CLOSED_D_SHELL = 10
OF_COPPER_IODIDE = {29: cap_charge(1, 4), 53: cap_charge(7, 4)}
OF_CHALCOPYRITE = {29: cap_charge(1, 4), 49: cap_charge(3, 4), 34: cap_charge(6, 4)}
OF_GALLIUM_ARSENIDE = {31: cap_charge(3, 4), 33: cap_charge(5, 4)}


def cut(frame, charges, epicentre=0, **settings):
    config, theory = CutoutConfig(core_radius=0.0, **settings), LabelTheory(cap_charges=charges)
    return cut_covalent(CutRequest(frame=index_frame(frame), epicentre=epicentre, config=config, theory=theory))


def chalcopyrite():
    """CuInSe2: zinc blende, copper and indium in turns along [201]."""
    frame = bulk('CuSe', 'zincblende', a=5.78, cubic=True) * (4, 4, 4)
    metals = np.flatnonzero(frame.numbers == 29)
    x, _, z = np.round(frame.positions[metals] / 2.89).astype(int).T
    frame.numbers[metals[(z + x // 2) % 2 == 0]] = 49
    return shaken(frame, 0.04)


@pytest.mark.parametrize('epicentre', [0, 1])
def test_copper_iodide_has_two_electrons_a_bond_beside_its_d_shells(epicentre):
    frame = shaken(bulk('CuI', 'zincblende', a=6.05, cubic=True) * (3, 3, 3), 0.04)
    label = cut(frame, OF_COPPER_IODIDE, epicentre)
    lengths = {('Cu', 'I'): 3.1, ('Cu', 'H'): 2.0, ('I', 'H'): 2.0}
    bonds = len(neighbor_list('i', label.atoms, lengths)) // 2
    electrons = LabelTheory(cap_charges=OF_COPPER_IODIDE).electrons(label.atoms, label.shell)
    assert electrons == pytest.approx(2 * bonds + CLOSED_D_SHELL * (label.atoms.numbers == 29).sum())
    assert label.report['parity'] == 'even' and (label.parents < 0).sum() > 20
    with pytest.raises(RejectedCutoutError, match='give a pseudopotential H'):
        cut(frame, {}, epicentre)


@pytest.mark.parametrize('charges', [{}, OF_CHALCOPYRITE])
def test_bonds_without_two_electrons_each_are_not_cut(charges):
    """Copper's bonds in CuInSe2 have 1.75 electrons, indium's 2.25: no charge of a host is right for both."""
    with pytest.raises(RejectedCutoutError, match=r'a cut bond of \w+ and \w+ has (1\.75|2\.25) electrons'):
        cut(chalcopyrite(), charges)
    assert len(cut(chalcopyrite(), charges, fractional_caps=False).atoms) > 20  # as was asked for


def test_a_metal_that_no_rule_knows_gets_no_cap():
    frame = shaken(bulk('AuI', 'zincblende', a=6.2, cubic=True) * (3, 3, 3), 0.04)
    with pytest.raises(RejectedCutoutError, match='no rule gives the charge of a cap where a bond of Au is cut'):
        cut(frame, OF_COPPER_IODIDE)


def test_an_impurity_does_not_switch_fractional_caps_off():
    frame = gallium_arsenide()
    frame.numbers[30] = 79
    with pytest.raises(RejectedCutoutError, match='give a pseudopotential H3'):
        cut(frame, {}, 30)
    assert (cut(frame, OF_GALLIUM_ARSENIDE, 30).parents < 0).sum() > 10


def test_hosts_are_those_whose_partner_brings_the_rest_of_eight():
    assert fractional_hosts({'Cu', 'I'}) == {'Cu', 'I'}
    assert fractional_hosts({'In', 'Ga', 'As', 'Si', 'H'}) == {'In', 'Ga', 'As'}
    assert fractional_hosts({'Zn', 'Se', 'Mn'}) == {'Zn', 'Se'}
    for elements in ({'Si', 'O'}, {'C', 'Si'}, {'Cu', 'In', 'Se'}, {'B', 'O'}):
        assert fractional_hosts(elements) == frozenset()
