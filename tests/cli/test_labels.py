"""`labels show | export | retry` on a real labelling: one good frame, one that is never sent."""

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida_pseudo.data.pseudo.upf import UpfData
from ase.build import molecule
from ase.io import read
from click.testing import CliRunner

from aiida_pyacemaker.cli import main
from aiida_pyacemaker.cli.labels import make_retry
from aiida_pyacemaker.data.dataset import AtomicDatasetData
from aiida_pyacemaker.science.frames_io import read_extxyz
from aiida_pyacemaker.workflows.dft.label_dft import DftLabelWorkChain


@pytest.fixture
def labelling(pw_code, serial_options, finished):
    """A hydrogen molecule, and one squeezed to a third: run once in this session."""
    if not orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': finished.get('labelling', -1)}).count():
        good, bad = (molecule('H2', vacuum=2.5) for _ in range(2))
        bad.positions[1] = bad.positions[0] + [0.0, 0.0, 0.25]
        builder = DftLabelWorkChain.get_builder_from_protocol(
            pw_code,
            dataset=AtomicDatasetData.from_atoms(good, bad),
            pseudos={'H': UpfData('/usr/share/espresso/pseudo/H.pz-vbc.UPF').store()},
            overrides={'dft': {'ecutwfc': 8.0}},
            options=serial_options,
        )
        _, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        finished['labelling'] = node.pk
    return orm.load_node(finished['labelling'])


def invoke(*words):
    result = CliRunner().invoke(main, ['labels', *map(str, words)], terminal_width=200)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.dft
def test_show_says_what_became_of_every_frame(labelling, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    said = invoke('show', labelling.pk)
    rows = [line.split() for line in said.splitlines() if line.strip()[:1].isdigit()]
    assert rows[0][:3] == ['0', 'labelled', str(labelling.outputs.report['pks']['0'])]
    assert f'{labelling.outputs.labels.part_000.get_frames().energy[0]:.4f}' in rows[0]
    assert rows[1][:2] == ['1', 'quarantine'] and '0.250 Å apart' in said
    assert '1 labelled, 0 of them before; 1 in quarantine, 0 not run; 1 SCF runs' in said


@pytest.mark.dft
def test_export_writes_labels_or_the_quarantine_with_reasons(labelling, tmp_path):
    labels, kept_out = tmp_path / 'labels.xyz', tmp_path / 'quarantine.xyz'
    assert '1 frames' in invoke('export', labelling.pk, '-o', labels, '--unflagged')
    written, frames = read_extxyz(labels), labelling.outputs.labels.part_000.get_frames()
    assert written.content_digest() == frames.content_digest() and written.theories == frames.theories
    invoke('export', labelling.pk, '-o', kept_out, '--quarantine')
    atoms = read(kept_out)
    assert atoms.info['row'] == 1 and '0.250 Å apart' in atoms.info['reason']


@pytest.mark.dft
def test_retry_serves_what_there_is_and_takes_other_settings(labelling):
    _, again = run_get_node(make_retry(labelling, {'clean_workdir': 'none'}, max_calls=3))
    report = again.outputs.report.get_dict()
    assert (report['n_scf'], report['n_reused'], report['n_failed']) == (0, 1, 1)
    assert again.inputs.max_calls.value == 3 and again.inputs.dft['clean_workdir'] == 'none'
    refused = CliRunner().invoke(main, ['labels', 'retry', str(labelling.pk), '--set', 'electron_maxstep', 'many'])
    assert refused.exit_code != 0 and 'dft.electron_maxstep' in refused.output


@pytest.mark.dft
def test_what_is_no_labelling_is_refused(labelling):
    pk = labelling.outputs.report.creator.pk
    result = CliRunner().invoke(main, ['labels', 'show', str(pk)])
    assert result.exit_code != 0 and 'holds 0 labellings' in result.output
