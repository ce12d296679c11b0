"""Model files: from disk, from a server on the loopback, and when there is none."""

import hashlib
import http.server
import threading
from functools import partial

import pytest

from aiida_pyacemaker.science.teacher import load_teacher, resolve_model
from aiida_pyacemaker.science.teacher.registry import foundation_addresses


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    requests: list[str] = []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.requests.append(self.path)
        if self.path == '/page.model':
            self.send_response(200)
            self.send_header('Content-Type', 'text/html')
            self.end_headers()
            self.wfile.write(b'<html>moved</html>')
        elif self.path == '/short.model':
            self.send_response(200)
            self.send_header('Content-Length', '1000')
            self.end_headers()
            self.wfile.write(b'PK too short')
        else:
            super().do_GET()


@pytest.fixture
def server(models):
    QuietHandler.requests.clear()
    handler = partial(QuietHandler, directory=str(models[0].parent))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{running.server_port}'
        running.shutdown()


def test_a_file_is_itself(models):
    resolved = resolve_model(models[0])
    assert resolved.path == models[0].resolve()
    assert resolved.sha256 == hashlib.sha256(models[0].read_bytes()).hexdigest()
    assert resolved.licence.startswith('unknown')


def test_a_name_is_downloaded_once_checked_and_loadable(models, server, tmp_path):
    table = {'small': f'{server}/{models[0].name}', 'small-omat-0': f'{server}/{models[1].name}'}
    first = resolve_model('small', cache_dir=tmp_path / 'cache', addresses=table)
    again = resolve_model('small', cache_dir=tmp_path / 'cache', addresses=table)
    assert first == again and first.licence == 'MIT' and first.source == table['small']
    assert QuietHandler.requests == [f'/{models[0].name}']
    assert first.path.read_bytes() == models[0].read_bytes()
    assert first.path.with_name(f'{first.path.name}.sha256').read_text().split()[0] == first.sha256
    assert load_teacher(first.path).elements == ('H', 'Si')
    academic = resolve_model('small-omat-0', cache_dir=tmp_path / 'cache', addresses=table)
    assert academic.licence.startswith('ASL')
    assert not list((tmp_path / 'cache').glob('*.part'))


def test_an_address_is_taken_as_it_is(models, server, tmp_path):
    resolved = resolve_model(f'{server}/{models[2].name}', cache_dir=tmp_path)
    assert resolved.path.read_bytes() == models[2].read_bytes() and resolved.licence.startswith('unknown')


def test_a_changed_file_in_the_cache_is_refused(models, server, tmp_path):
    resolved = resolve_model(f'{server}/{models[0].name}', cache_dir=tmp_path)
    resolved.path.write_bytes(resolved.path.read_bytes()[:-1])
    with pytest.raises(ValueError, match='as when it was downloaded'):
        resolve_model(f'{server}/{models[0].name}', cache_dir=tmp_path)


@pytest.mark.parametrize('name', ['page.model', 'short.model'])
def test_web_pages_and_cut_answers_are_no_models(server, tmp_path, name):
    with pytest.raises((ValueError, ConnectionError), match=name):
        resolve_model(f'{server}/{name}', cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_offline_the_error_names_model_cache_and_remedy(server, tmp_path):
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), QuietHandler) as closed:
        port = closed.server_port
    table = {'medium-mpa-0': f'http://127.0.0.1:{port}/medium.model'}
    with pytest.raises(ConnectionError) as caught:
        resolve_model('medium-mpa-0', cache_dir=tmp_path / 'cache', addresses=table)
    for part in ("'medium-mpa-0'", str(tmp_path / 'cache'), table['medium-mpa-0'], 'path of a model file'):
        assert part in str(caught.value)
    with pytest.raises(ConnectionError, match='404'):
        resolve_model('gone', cache_dir=tmp_path, addresses={'gone': f'{server}/gone.model'})


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"'tiny' is no file and no known name.*medium-mpa-0"):
        resolve_model('tiny')
    table = foundation_addresses()
    assert {'small', 'medium-mpa-0', 'medium-0b3', 'off23-small'} <= set(table)
    assert all(address.startswith('https://') for address in table.values())


def test_files_that_are_no_models_are_named(models, tmp_path):
    cut = tmp_path / 'cut.model'
    cut.write_bytes(models[0].read_bytes()[:100_000])
    text = tmp_path / 'text.model'
    text.write_text('not a model')
    cases = ((cut, 'cannot be read as a MACE model'), (text, 'cannot be read'), (tmp_path / 'no.model', 'not exist'))
    for path, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            load_teacher([models[0], path])
        assert str(path) in str(caught.value)
    with pytest.raises(ValueError, match='at least one'):
        load_teacher([])


def test_precision_is_the_one_asked_for(models):
    import torch

    for name in ('float32', 'float64'):
        teacher = load_teacher(models, dtype=name)
        assert {p.dtype for p in teacher.engines[0].models[0].parameters()} == {getattr(torch, name)}
        assert not any(p.requires_grad for model in teacher.engines[0].models for p in model.parameters())
