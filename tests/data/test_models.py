"""Potential, block and teacher nodes: what they hold, what they refuse."""

import numpy as np
import pytest

from aiida_pyacemaker.data.ace_fit_block import AceFitBlockData
from aiida_pyacemaker.data.ace_potential import AcePotentialData
from aiida_pyacemaker.science.ace import ActiveSet, build_potential
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.config import FitConfig


@pytest.fixture
def folder(tmp_path):
    potential = build_potential(['Si', 'C'], FitConfig(number_of_functions_per_element=10), bond_length=2.0)
    potential.write_yaml(tmp_path / 'potential.yaml')
    return tmp_path


def test_potential_says_what_it_is_and_gives_its_files_back(folder, tmp_path):
    (folder / 'notes.txt').write_text('not ours')
    node = AcePotentialData.from_folder(folder, metrics={'ridge': 1e-8}).store()
    assert node.elements == ('C', 'Si') and not node.has_baseline
    assert node.base.repository.list_object_names() == ['potential.yaml']
    assert node.base.attributes.get('n_functions') == {'C': 10, 'Si': 10}
    node.write_to(tmp_path / 'copy')
    assert (tmp_path / 'copy' / 'potential.yaml').read_bytes() == (folder / 'potential.yaml').read_bytes()


def test_pair_lines_name_style_files_and_types_in_order(folder):
    node = AcePotentialData.from_folder(folder)
    assert node.pair_lines(extrapolation=False) == ('pair_style pace', 'pair_coeff * * potential.yace C Si')
    baseline = fit_baseline(['C', 'Si'], 'ZBL', None)
    (folder / 'baseline.json').write_text(baseline.to_json())
    baseline.write_lammps_table(folder / 'baseline.table')
    style, pace, *pairs = AcePotentialData.from_folder(folder).pair_lines(['Si', 'C'])
    assert style.startswith('pair_style hybrid/overlay pace/extrapolation table spline ')
    assert pace == 'pair_coeff * * pace/extrapolation potential.yaml potential.asi Si C'
    assert pairs[0] == 'pair_coeff 1 1 table baseline.table Si_Si' and len(pairs) == 3


def test_unknown_elements_and_missing_files_are_refused_by_name(folder, tmp_path):
    with pytest.raises(ValueError, match='knows C, Si, not Ge: distil one'):
        AcePotentialData.from_folder(folder).check_elements(['Ge', 'Si'])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'potential\.yaml'):
        AcePotentialData.from_folder(tmp_path / 'empty')


def test_active_set_of_another_potential_is_refused(folder):
    ActiveSet(inverses={'C': np.eye(10), 'Si': np.eye(9)}).write(folder / 'potential.asi')
    with pytest.raises(ValueError, match='C 10, Si 9 functions, the potential C 10, Si 10: it was built for another'):
        AcePotentialData.from_folder(folder)
    ActiveSet(inverses={'Si': np.eye(10), 'C': np.eye(10)}).write(folder / 'potential.asi')
    assert 'potential.asi' in AcePotentialData.from_folder(folder).base.repository.list_object_names()


def test_a_file_that_is_no_block_is_refused(tmp_path):
    np.savez(tmp_path / 'other.npz', a=np.zeros(3))
    with pytest.raises(ValueError, match='is not a block file'):
        AceFitBlockData.from_file(tmp_path / 'other.npz')


def test_a_block_keeps_its_header_as_attributes(distilled, tmp_path):
    block = distilled.outputs.blocks.teacher_00
    assert block.base.attributes.get('name') == 'teacher_00'
    basis = distilled.outputs.potential.base.attributes.get('basis_digest')
    assert block.base.attributes.get('frozen')['basis'] == basis
    block.write_to(tmp_path / 'copy.npz')
    copy = AceFitBlockData.from_file(tmp_path / 'copy.npz').store()
    assert copy.base.caching.compute_hash() == block.base.caching.compute_hash()
