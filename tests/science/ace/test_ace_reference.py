"""Parts against pyace: order and couplings of the functions, C-tilde files, radial functions."""

import json

import numpy as np
import pytest
from ace_examples import FIXTURES, alloy, binary_potential, read_yace, reference, reference_names

from aiida_pyacemaker.science.ace import AceCalculator, Bond, evaluate
from aiida_pyacemaker.science.ace.model.couplings import symmetrised
from aiida_pyacemaker.science.ace.model.radial import base_functions, radial_functions

PYACE_CHEB_POW = [0.157464, 0.5306763548159998, 0.8845670234930134, 0.9962358450208115, 0.7953475421471816]
PYACE_INNER = [
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.039204100369661085, 0.003339825394743516, -0.03503760900955174]
    + [0.017515131783820585, 0.02277501780608918, -0.03266273498206343],
    [0.2920720023255527, 0.118111956974152, -0.270705114588699]
    + [-0.021888529812294992, 0.27224082791385057, -0.09516702691597802],
]


def merged(function, combinations, values):
    """Sum the values of products that are equal: (μ, n, l, m) as a multiset, up to m → -m."""
    total = {}
    for ms, value in zip(combinations, values, strict=True):
        heads = list(zip(function['mus'], function['ns'], function['ls'], strict=True))
        signs = (sorted((*head, int(s * m)) for head, m in zip(heads, ms, strict=True)) for s in (1, -1))
        key = str(max(signs))
        total[key] = total.get(key, 0.0) + value
    return total


@pytest.mark.parametrize('name', reference_names())
def test_pyace_order_and_couplings(name):
    potential, basis, _ = reference(name)
    for element, functions in zip(potential.elements, potential.functions, strict=True):
        expected = [[f['mus'], f['ns'], f['ls'], f['LS']] for f in basis[element]]
        assert [list(map(list, f)) for f in functions] == expected
        for ours, theirs in zip(functions, basis[element], strict=True):
            if theirs['rank'] > 1:
                mine = symmetrised(tuple(zip(ours.mus, ours.ns, strict=True)), ours.ls, ours.lint)
                couplings = merged(theirs, theirs['ms_combs'], theirs['gen_cgs'])
                assert merged(theirs, mine, mine.values()) == pytest.approx(couplings, abs=1e-12)


@pytest.mark.parametrize('name', [name for name in reference_names() if name.startswith('Cu')])
def test_yace_is_pyace_yace(name, tmp_path):
    """Same bonds; same products up to the choice between m and -m and between equal factors."""
    potential, _, _ = reference(name)
    potential.write_yace(tmp_path / 'x.yace')
    ours, theirs = (read_yace(p) for p in (tmp_path / 'x.yace', FIXTURES / f'{name}.yace'))
    for key in ('elements', 'E0', 'deltaSplineBins', 'embeddings', 'bonds'):
        assert ours[key] == theirs[key]
    heads = ('mu0', 'rank', 'ndensity', 'mus', 'ns', 'ls')
    for mine, other in zip(ours['functions'][0], theirs['functions'][0], strict=True):
        assert {key: mine[key] for key in heads} == {key: other[key] for key in heads}
        assert mine['num_ms_combs'] == len(mine['ms_combs']) // mine['rank']
        for density in range(mine['ndensity']):
            first, second = (
                merged(f, np.reshape(f['ms_combs'], (-1, f['rank'])), f['ctildes'][density :: f['ndensity']])
                for f in (mine, other)
            )
            assert first == pytest.approx(second, rel=1e-12, abs=1e-15)


def test_cheb_pow_of_pyace():
    """Rank-one projections of pyace's Al dimer at 2.3 Å, ChebPow λ = 3, r_c = 5 Å."""
    bond = Bond(base='ChebPow', parameters=(3.0,), cutoff=5.0, cutoff_width=0.01, coefficients=np.zeros((1, 1, 5)))
    values = base_functions(np.array([2.3]), bond)[0][:, 0]
    np.testing.assert_allclose(values, PYACE_CHEB_POW, rtol=1e-12)


def test_inner_cutoff_of_pyace():
    """Projections of pyace's Cu dimers, SBessel, r_in 2.2 Å, width 0.4 Å: gone at 1.5, faded at 1.9 and 2.1."""
    shape = {'coefficients': np.zeros((1, 1, 6)), 'inner_cutoff': 2.2, 'inner_width': 0.4}
    bond = Bond(base='SBessel', parameters=(5.25,), cutoff=5.0, cutoff_width=0.01, **shape)
    values = base_functions(np.array([1.5, 1.9, 2.1]), bond)[0]
    np.testing.assert_allclose(values.T, PYACE_INNER, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize('base', ['SBessel', 'ChebPow', 'ChebExpCos', 'ChebLinear'])
def test_radial_slopes(base):
    """Analytic slopes are the derivatives of the values, inner and outer switch included."""
    mixing = np.random.default_rng(0).normal(size=(3, 3, 7))
    bond = Bond(
        base=base,
        parameters=(2.5,),
        cutoff=5.0,
        cutoff_width=0.3,
        coefficients=mixing,
        inner_cutoff=1.8,
        inner_width=0.6,
    )
    r, h = np.linspace(0.02, 4.99, 300), 1e-5
    numeric = (radial_functions(r + h, bond)[0] - radial_functions(r - h, bond)[0]) / (2 * h)
    np.testing.assert_allclose(radial_functions(r, bond)[1], numeric, rtol=0, atol=2e-7)


def test_calculator_adds_baseline_and_grade():
    potential, atoms = binary_potential(), alloy()

    class Spring:
        cutoff = 1.0

        def evaluate(self, atoms, pairs=None):
            assert pairs is not None
            return np.full(len(atoms), 0.5), np.full((len(atoms), 3), 0.25), np.full(6, 0.125)

    class Largest:
        def gamma(self, species, projections):
            return np.array([np.abs(row).max() for row in projections])

    plain = evaluate(potential, atoms, with_projections=True)
    atoms.calc = AceCalculator(potential, active_set=Largest(), baseline=Spring())
    assert atoms.get_potential_energy() == pytest.approx(plain.energies.sum() + 0.5 * len(atoms), abs=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), plain.forces + 0.25, atol=1e-12)
    np.testing.assert_allclose(atoms.get_stress(), plain.stress + 0.125, atol=1e-12)
    # the calculator's list has a skin and another order, so its sums round differently
    grades = [np.abs(row).max() for row in plain.projections]
    np.testing.assert_allclose(atoms.calc.results['gamma'], grades, rtol=1e-14)


def test_fixture_readme_names_every_file():
    text = (FIXTURES / 'README.md').read_text()
    assert all(f'`{name}`' in text for name in reference_names())
    assert json.loads((FIXTURES / 'Cu_SBessel_lin.json').read_text())['potential'] == 'Cu_SBessel_lin.yaml'
