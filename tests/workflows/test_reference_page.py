"""The file that the page on references shows is one: it passes the check, runs, and the oracle takes it."""

import importlib
import re
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms

from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.workflows.references import check_reference

PAGE = Path(__file__).parents[2] / 'docs' / 'references.md'
PLUGIN = '''

@calcfunction
def compute(structure, stiffness):
    forces = -stiffness.value * structure.get_ase().positions
    energy = float((forces**2).sum() / 2 / stiffness.value)
    return {'forces': orm.ArrayData({'final': forces}), 'misc': orm.Dict({'total_energies': {'energy_free': energy}})}


class Plugin(WorkChain):
    """Stands in for the plugin of VASP: a spring on every atom; a lonely one fails."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('structure', valid_type=orm.StructureData)
        spec.input('stiffness', valid_type=orm.Float)
        spec.outline(cls.run_it)
        spec.output('forces', valid_type=orm.ArrayData, required=False)
        spec.output('misc', valid_type=orm.Dict, required=False)
        spec.exit_code(400, 'ERROR_LONELY', message='One atom is not enough.')

    def run_it(self):
        if len(self.inputs.structure.sites) < 2:
            return self.exit_codes.ERROR_LONELY
        self.out_many(compute(self.inputs.structure, self.inputs.stiffness))


WorkflowFactory = {'vasp.vasp': Plugin}.__getitem__
'''


def test_the_file_on_the_page_is_a_reference(aiida_profile, tmp_path, monkeypatch):
    block = next(text for text in re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.S) if 'class Vasp' in text)
    (tmp_path / 'reference_of_the_page.py').write_text(block + PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    page = importlib.import_module('reference_of_the_page')
    assert check_reference(page.VaspLabelWorkChain) is None
    assert {'dft', 'ase', 'vasp'} == set(page.OracleWithVasp.spec().inputs['reference'])
    pair, lonely = Atoms('Si2', positions=[[0, 0, 0], [2.2, 0, 0]]), Atoms('Si')
    inputs = {'dataset': AtomicDatasetData.from_atoms(pair, lonely, pair), 'vasp': {'stiffness': orm.Float(2.0)}}
    outputs, node = run_get_node(page.VaspLabelWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    frames, report = outputs['labels']['part_000'].get_frames(), outputs['report'].get_dict()
    assert report['labelled'] == [0, 2] and report['failed'] == [{'row': 1, 'reason': 'One atom is not enough.'}]
    np.testing.assert_allclose(np.diff(frames.forces[:2, 0]), -2.0 * 2.2, rtol=1e-9)
    assert frames.energy[0] == frames.energy[1] and len(outputs['quarantine']) == 1
