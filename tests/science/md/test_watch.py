"""A potential that is swapped while MD runs: a boundary like any other, and nothing unusable is taken up."""

import filecmp
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from stand_in import FIXTURES, run_segment

from aiida_pyacemaker.science.ace import AcePotential, build_potential
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.md import read_restart_step
from aiida_pyacemaker.science.md.engine import EngineError, parse_arguments
from aiida_pyacemaker.science.md.student import load_student
from aiida_pyacemaker.science.md.watch import digest_of, read_run, reseed

MD = {'n_steps': 80, 'temperature_start_K': 600, 'temperature_end_K': 900}
SWAP = re.compile(r'^POTENTIAL_SWAP step (\d+) sha256 (\w+) folder (\S+) restart (\S+)$', re.MULTILINE)
REFUSED = re.compile(r'^POTENTIAL_REFUSED step (\d+): (.*)$', re.MULTILINE)


def make_potential(folder, factor=0.97):
    """Write a potential whose coefficients are ``factor`` times those of the fixture."""
    folder.mkdir(parents=True)
    potential = AcePotential.read(FIXTURES / 'md' / 'potential.yaml')
    potential.with_coefficients(factor * np.array(potential.coefficients)).write_yaml(folder / 'potential.yaml')
    (folder / 'potential.asi').write_bytes((FIXTURES / 'md' / 'potential.asi').read_bytes())
    return folder


def point_to(path, folder):
    """Put the watched file in place at once."""
    part = path.with_suffix('.part')
    part.write_text(json.dumps({'potential': str(folder)}))
    part.replace(path)


def acting(at, action):
    """Return a loader whose first potential calls ``action`` in its evaluation number ``at``."""
    calls = []

    def load(*names):
        student = load_student(*names)
        plain = student.evaluate

        def evaluate(*arguments, **options):
            calls.append(1)
            if len(calls) == at:
                action()
            return plain(*arguments, **options)

        student.evaluate = evaluate
        return student

    return load


@pytest.mark.parametrize('ensemble', ['nvt', 'npt', 'langevin'])
def test_a_swap_is_a_segment_boundary(tmp_path, ensemble):
    """The rest of the run has the bits of a segment that starts from the swap's restart file."""
    new, watched = make_potential(tmp_path / 'new'), tmp_path / 'next.json'
    md = {**MD, 'ensemble': ensemble, 'barostat': 'aniso'}
    load = acting(50, lambda: point_to(watched, 'new'))
    status, log = run_segment(tmp_path / 'whole', load, md=md, watched=watched)
    text = (tmp_path / 'whole' / 'log.lammps').read_text()
    assert status == 0, log.error
    ((step, digest, folder, restart),) = SWAP.findall(text)
    assert 48 <= int(step) <= 52 and int(step) == read_restart_step(tmp_path / 'whole' / restart)
    assert digest == digest_of(new) and Path(folder).resolve() == new
    assert log.last_step == 80 and not REFUSED.findall(text)

    again = tmp_path / 'again'
    again.mkdir()
    shutil.copy(tmp_path / 'whole' / restart, again / 'start.restart')
    pair = ('pair_style pace/extrapolation', f'pair_coeff * * {new}/potential.yaml {new}/potential.asi Cu')
    (bath,) = re.findall(r'^fix bath .*$', (tmp_path / 'whole' / 'in.lmp').read_text(), re.M) or [None]
    status, log = run_segment(again, load_student, md=md, pair_lines=pair, watched=tmp_path / 'none.json')
    assert status == 0, log.error
    if bath:  # the seed of the boundary is in the log
        text = (again / 'in.lmp').read_text().replace(bath, reseed(bath, int(step)))
        assert reseed(bath, int(step)) in (tmp_path / 'whole' / 'log.lammps').read_text()
        from stand_in import run_in

        (again / 'in.lmp').write_text(text)
        assert run_in(again, load_student) == 0
    for name in ('last.dump', 'ring.80.dump', 'ring.60.dump'):
        assert filecmp.cmp(tmp_path / 'whole' / name, again / name, shallow=False), name
    late = (tmp_path / 'whole' / 'gamma.log').read_text().splitlines()[-3:]
    assert late == (again / 'gamma.log').read_text().splitlines()[-3:]


def test_what_cannot_be_used_is_refused_and_md_goes_on_undisturbed(tmp_path):
    md = {**MD, 'n_steps': 60, 'ensemble': 'nvt'}
    run_segment(tmp_path / 'plain', load_student, md=md)
    watched, cases = tmp_path / 'next.json', {}

    def case(name, message, change):
        folder = make_potential(tmp_path / name)
        change(folder)
        cases[name] = message

    case('incomplete', 'names no complete potential', lambda folder: (folder / 'potential.asi').unlink())
    case('cut_off', 'potential.yaml', lambda folder: (folder / 'potential.yaml').write_text('elements: [Cu'))
    case('baseline', 'another baseline', lambda folder: (folder / 'baseline.table').write_text('x'))

    def rename_element(folder):
        text = (folder / 'potential.yaml').read_text()
        (folder / 'potential.yaml').write_text(re.sub(r'\bCu\b', 'Ag', text))
        inverse = np.load(folder / 'potential.asi')['Cu']
        with (folder / 'potential.asi').open('wb') as handle:
            np.savez(handle, Ag=inverse)

    case('element', 'Element Cu is not supported', rename_element)

    def reach_further(folder):
        config = FitConfig(number_of_functions_per_element=40, cutoff=5.6)
        build_potential(['Cu'], config, bond_length=2.55).write_yaml(folder / 'potential.yaml')

    case('reach', 'the lists of this run reach', reach_further)
    pending = list(cases)

    def next_case():
        point_to(watched, pending.pop(0)) if pending else None

    calls = []

    def load(*names):
        student = load_student(*names)
        plain = student.evaluate

        def evaluate(*arguments, **options):
            calls.append(1)
            if len(calls) % 7 == 0:
                next_case()
            return plain(*arguments, **options)

        student.evaluate = evaluate
        return student

    status, log = run_segment(tmp_path / 'watched', load, md=md, watched=watched)
    assert status == 0, log.error
    refused = REFUSED.findall((tmp_path / 'watched' / 'log.lammps').read_text())
    assert len(refused) == len(cases)
    for (_, text), message in zip(refused, cases.values(), strict=True):
        assert message in text
    assert filecmp.cmp(tmp_path / 'plain' / 'last.dump', tmp_path / 'watched' / 'last.dump', shallow=False)


def test_runs_keep_the_ends_of_their_ramps_and_other_forms_are_refused():
    assert read_run(['run', '50', 'upto', 'start', '0', 'stop', '90'], 20) == (50, 'start 0 stop 90')
    assert read_run(['run', '50'], 20) == (70, 'start 20 stop 70')
    with pytest.raises(EngineError, match='every is not served'):
        read_run(['run', '50', 'every', '10', 'x'], 0)
    assert parse_arguments(['--watch', 'next.json', '-in', 'x']).watched == Path('next.json')
