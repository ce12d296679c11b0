"""Pseudo-hydrogens by the real `ld1.x`."""

from pathlib import Path

import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_pyacemaker.calculations.pseudo_hydrogen import PseudoHydrogenCalculation
from aiida_pyacemaker.science.dft.upf import read_header

PSEUDO_FOLDER = Path('/usr/share/espresso/pseudo')


@pytest.fixture
def make(ld1_code):
    def run(charge, functional='LDA', code=None, **inputs):
        builder = PseudoHydrogenCalculation.get_builder()
        builder.code = code or ld1_code
        builder.charge, builder.functional = orm.Float(charge), orm.Str(functional)
        for port, node in inputs.items():
            setattr(builder, port, node)
        return run_get_node(builder)

    return run


@pytest.mark.parametrize(('charge', 'functional'), [(0.25, 'PBE'), (1.75, 'PBESOL')])
def test_every_charge_is_hydrogen_of_the_functional(make, charge, functional):
    """`ld1.x` calls these two XX and He."""
    outputs, node = make(charge, functional)
    assert node.is_finished_ok, node.exit_message
    pseudo = outputs['pseudo']
    header = read_header(pseudo.get_content())
    assert (pseudo.element, pseudo.z_valence, header.functional) == ('H', charge, functional)
    assert pseudo.creator.pk == node.pk
    assert orm.load_node(pseudo.pk).z_valence == charge
    facts = outputs['output_parameters'].get_dict()
    assert facts['level_full_Ry'] == pytest.approx(facts['level_pseudo_Ry'], abs=1e-5)


@pytest.mark.parametrize(
    ('inputs', 'words'),
    [
        ({'charge': 2.0}, 'charge = 2.0 e, allowed: 0.1 to 1.9'),
        ({'charge': 0.5, 'functional': 'B3LYP'}, "functional = 'B3LYP' cannot be made, allowed: LDA"),
        ({'charge': 0.5, 'core_radius_bohr': 0.1}, 'core_radius_bohr = 0.1 bohr'),
    ],
)
def test_what_cannot_be_made_is_refused(make, inputs, words):
    wrapped = {'core_radius_bohr': orm.Float(inputs.pop('core_radius_bohr'))} if 'core_radius_bohr' in inputs else {}
    with pytest.raises(ValueError, match=words):
        make(**inputs, **wrapped)


def test_the_functional_is_that_of_the_family(make):
    family = {'Si': UpfData(PSEUDO_FOLDER / 'Si.pz-vbc.UPF')}
    with pytest.raises(ValueError, match='functional = PBE, but Si are of LDA'):
        make(0.75, 'PBE', pseudos=family)


def test_a_program_that_fails_says_why(make, aiida_code_installed, localhost, tmp_path):
    script = tmp_path / 'ld1'
    script.write_text('#!/bin/sh\necho " Error in routine ld1_readin (1):"\necho " wrong nuclear charge"\n')
    script.chmod(0o755)
    code = aiida_code_installed(label='broken', computer=localhost, filepath_executable=str(script))
    _, node = make(0.75, code=code)
    assert node.exit_status == 302 and 'wrong nuclear charge' in node.exit_message
    assert not node.base.caching.is_valid_cache


def test_input_is_written_for_the_charge(make, ld1_code):
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    inputs = {'code': ld1_code, 'charge': orm.Float(1.25), 'functional': orm.Str('LDA')}
    with SandboxFolder() as folder:
        process = instantiate_process(get_manager().get_runner(), PseudoHydrogenCalculation, **inputs)
        process.prepare_for_submission(folder)
        text = Path(folder.get_abs_path('ld1.in')).read_text()
    assert "zed=1.25, config='1s1.25'" in text and "dft='PZ'" in text and 'zval=1.25' in text
