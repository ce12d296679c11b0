"""Teachers as nodes, from the names that users give them."""

import functools
import hashlib
import http.server
import json
import threading
import warnings

import pytest

from aiida_pyacemaker.data.teacher import LicenceWarning, TeacherModelData
from aiida_pyacemaker.science.teacher import load_teacher


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def addresses(teacher_files):
    handler = functools.partial(Quiet, directory=str(teacher_files[0].parent))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        root = f'http://127.0.0.1:{running.server_port}'
        names = ('small', 'small-omat-0', 'medium')
        yield {name: f'{root}/{path.name}' for name, path in zip(names, teacher_files, strict=True)}
        running.shutdown()


def test_a_foundation_name_becomes_a_node_with_its_origin(addresses, teacher_files, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error', LicenceWarning)
        node = TeacherModelData.from_name('small', cache_dir=tmp_path, addresses=addresses).store()
    facts = node.base.attributes.all
    assert (facts['family'], facts['licence'], facts['source']) == ('mace', 'MIT', addresses['small'])
    assert facts['sha256'] == [hashlib.sha256(teacher_files[0].read_bytes()).hexdigest()]
    assert set(facts['versions']) == {'mace-torch', 'e3nn', 'torch'}
    assert facts['cutoff_A'] == pytest.approx(4.3, abs=1e-6)
    assert node.is_trainable and node.elements == ('H', 'Si')


def test_a_committee_shows_the_strictest_licence(addresses, tmp_path):
    with pytest.warns(LicenceWarning, match='ASL .academic use only.*not for commercial use'):
        node = TeacherModelData.from_name(['small', 'small-omat-0'], cache_dir=tmp_path, addresses=addresses)
    assert node.n_members == 2 and node.licence.startswith('MIT; ASL')
    assert node.base.attributes.get('source') == f'{addresses["small"]}; {addresses["small-omat-0"]}'


def test_a_file_has_the_licence_that_its_user_states(teacher_files):
    with pytest.warns(LicenceWarning, match='is not known'):
        assert TeacherModelData.from_name(teacher_files[0]).licence.startswith('unknown')
    with warnings.catch_warnings():
        warnings.simplefilter('error', LicenceWarning)
        assert TeacherModelData.from_name(teacher_files, licence='MIT').licence == 'MIT'


def test_a_plug_in_travels_as_a_card(tmp_path):
    pytest.importorskip('chgnet')
    node = TeacherModelData.from_name(['chgnet', 'chgnet:r2scan'], cache_dir=tmp_path / 'cache').store()
    assert node.family == 'chgnet' and not node.is_trainable and node.licence == 'BSD-3-Clause'
    assert node.file_names == ('model_0.json', 'model_1.json')
    assert 'chgnet 0.4' in node.base.attributes.get('source') and 'chgnet' in node.base.attributes.get('versions')
    teacher = load_teacher(node.write_to(tmp_path / 'there'))
    assert teacher.n_members == 2 and teacher.elements == node.elements
    written = json.loads((tmp_path / 'there' / 'model_1.json').read_text())
    assert written['settings'] == {'model': 'r2scan'} and written['sha256'] == teacher.sha256[1]


def test_unknown_names_and_files_say_what_there_is(tmp_path):
    with pytest.raises(ValueError, match=r"'nobody' is no file and no known name.*medium-mpa-0.*chgnet"):
        TeacherModelData.from_name('nobody', cache_dir=tmp_path)
    with pytest.raises(ValueError, match='missing'):
        TeacherModelData.from_files([tmp_path / 'none.model'], source='nowhere', licence='MIT')
