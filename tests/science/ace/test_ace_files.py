"""Files of a potential: what is read and written, and what each damaged or foreign file is refused with."""

import re

import numpy as np
import pytest
from ace_examples import FIXTURES, binary_potential, reference_names

from aiida_pyacemaker.science.ace import AcePotential


def spoilt(tmp_path, name, old, new, count=1):
    """Write a fixture with one text replaced, and return its path."""
    text = (FIXTURES / name).read_text()
    assert old in text
    path = tmp_path / f'spoilt{name[name.rindex(".") :]}'
    path.write_text(text.replace(old, new, count))
    return path


def assert_same(one, other, atol):
    """Everything but the coefficients must agree to the bit."""
    assert one.digest == other.digest and one.functions == other.functions
    assert one.reference_energies == other.reference_energies
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=0, atol=atol)


@pytest.mark.parametrize('name', [*reference_names(), 'binary'])
def test_reading_keeps_everything(name, tmp_path):
    """A .yaml reads back to the same bits; a .yace, whose couplings are multiplied out, to round-off."""
    potential = binary_potential() if name == 'binary' else AcePotential.read(FIXTURES / f'{name}.yaml')
    potential.write_yaml(tmp_path / 'x.yaml')
    assert_same(AcePotential.read(tmp_path / 'x.yaml'), potential, 0.0)
    potential.write_yace(tmp_path / 'x.yace')
    round_off = 4 * np.finfo(float).eps * np.abs(potential.coefficients).max()
    assert_same(AcePotential.read(tmp_path / 'x.yace'), potential, round_off)


@pytest.mark.parametrize('name', reference_names())
def test_pyace_yace_is_read_as_its_yaml(name):
    found, expected = (AcePotential.read(FIXTURES / f'{name}.{ending}') for ending in ('yace', 'yaml'))
    assert_same(found, expected, 4 * np.finfo(float).eps * np.abs(expected.coefficients).max())


def test_elements_have_the_same_number_of_densities_in_both_files(tmp_path):
    """LAMMPS is silently wrong otherwise; what is appended has no coefficient and no prefactor."""
    mixed = AcePotential.read(FIXTURES / 'AlNi_ChebPow_mixed_embed.yaml')
    assert [embedding.parameters for embedding in mixed.embeddings] == [(1, 1, 1, 0.5), (1, 1, 0, 1)]
    assert not mixed.coefficients[mixed.n_functions[0] :, 1].any()
    mixed.write_yaml(tmp_path / 'x.yaml')
    mixed.write_yace(tmp_path / 'x.yace')
    assert (tmp_path / 'x.yaml').read_text().count('ndensityi: 2') == 2
    assert {*re.findall(r'ndensity: (\d)', (tmp_path / 'x.yace').read_text())} == {'2'}
