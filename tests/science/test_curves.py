"""Cuts through a potential: dimers and trimers of a known pair potential, and the surface energy behind a cut."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc100
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from scipy.integrate import trapezoid

from aiida_pyacemaker.science.curves import decohesion_curve, pair_curve, pairs_of, trimer_curve

PAIR = {'sigma': 2.2, 'epsilon': 0.4, 'rc': 12.0, 'smooth': True}


def test_pair_curve_is_the_potential_itself():
    curve = pair_curve(LennardJones(**PAIR), 'Cu', 'Cu', np.linspace(2.0, 5.0, 200))
    lowest = int(np.argmin(curve.energies))
    assert curve.distances[lowest] == pytest.approx(2.2 * 2 ** (1 / 6), abs=0.02)
    assert curve.energies[lowest] == pytest.approx(-0.4, abs=1e-3)
    assert curve.forces[0] > 0 > curve.forces[-1]  # repels near, attracts far
    assert np.gradient(curve.energies, curve.distances)[50:150] == pytest.approx(-curve.forces[50:150], abs=2e-3)
    assert curve.pair == 'Cu-Cu' and pairs_of('ABC') == [*zip('AAABBC', 'ABCBCC', strict=True)]


def test_trimer_of_a_pair_potential_is_the_sum_of_its_pairs():
    curve = trimer_curve(LennardJones(**PAIR), ('Cu', 'Au', 'Cu'), 2.5, [60.0, 110.0, 180.0])
    for angle, energy in zip(curve.angles, curve.energies, strict=True):
        ends = 5.0 * np.sin(np.radians(angle) / 2)
        pairs = pair_curve(LennardJones(**PAIR), 'Cu', 'Cu', [2.5, ends]).energies
        assert energy == pytest.approx(2 * pairs[0] + pairs[1], abs=1e-10)
    assert curve.trimer == 'Cu-Au-Cu'


def test_cut_ends_at_twice_the_surface_energy_and_starts_at_zero():
    crystal = bulk('Cu', a=3.6, cubic=True)
    curve = decohesion_curve(EMT(), crystal, np.linspace(0.0, 12.0, 49), cutoff=6.0)
    slab = fcc100('Cu', (1, 1, 8), a=3.6, vacuum=8.0, periodic=True)
    slab.calc = EMT()
    whole = bulk('Cu', a=3.6)
    whole.calc = EMT()
    area = slab.cell[0, 0] * slab.cell[1, 1]
    twice = (slab.get_potential_energy() - 8 * whole.get_potential_energy()) / area / (units.kJ / 1e3 / units.m**2)
    assert curve.energies[0] == 0.0
    assert curve.energies[-1] == pytest.approx(twice, rel=1e-6)
    # the work of the tractions is the energy of the cut
    work = trapezoid(curve.tractions, curve.openings) * units.GPa / (units.kJ / 1e3 / units.m**2)
    assert work == pytest.approx(twice, rel=5e-3)
    assert curve.crystal == 'Cu4'


def test_opening_of_a_slanted_cell_goes_along_the_normal():
    straight, slanted = bulk('Cu', a=3.6, cubic=True), bulk('Cu', a=3.6, cubic=True)
    slanted.set_cell(np.array([[3.6, 0, 0], [0, 3.6, 0], [3.6, 3.6, 3.6]]))
    curves = [decohesion_curve(EMT(), atoms, [0.0, 1.0, 3.0], cutoff=6.0) for atoms in (straight, slanted)]
    assert curves[1].energies == pytest.approx(curves[0].energies, abs=1e-9)
    with pytest.raises(ValueError, match='expected three periods'):
        decohesion_curve(EMT(), Atoms('Cu'), [0.0], cutoff=6.0)
