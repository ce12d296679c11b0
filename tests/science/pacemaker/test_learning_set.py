"""What pacemaker is given: labels less the baseline, weights that mean the same as the embedded trainer's."""

import gzip
import pickle

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.science.ace.weights import RowWeights
from aiida_pyacemaker.science.baseline import fit_baseline
from aiida_pyacemaker.science.config import FitConfig
from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, Frames
from aiida_pyacemaker.science.pacemaker import Reference, draw_replay, make_job, refuse_stress
from aiida_pyacemaker.science.pacemaker.learning_set import make_learning_set
from aiida_pyacemaker.science.pacemaker.loss import force_share, weigh_source
from aiida_pyacemaker.science.pacemaker.portable import write_dataframe

ELEMENTS = ('Al', 'Ni')
REFERENCE = Reference(baseline=fit_baseline(ELEMENTS, 'ZBL'), energies={'Al': -3.0, 'Ni': -5.0}, bond_length=2.6)


def make_frames(seed, count=4, kind='teacher', mask=HAS_ENERGY | HAS_FORCES, core=None):
    """Rattled CsCl cells with random labels; ``core``: the atom that alone has weight."""
    rng = np.random.default_rng(seed)
    cells = [bulk('NiAl', 'cesiumchloride', a=2.4) * (2, 1, 1) for _ in range(count)]
    for atoms in cells:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    weight = np.ones(4 * count) if core is None else (np.arange(4 * count) % 4 == core).astype(float)
    forces = rng.normal(size=(4 * count, 3))
    forces[weight == 0] = np.nan
    return Frames.from_atoms(
        cells, energy=-16.0 + rng.normal(size=count), forces=forces, force_weight=weight,
        label_mask=np.full(count, mask), theory_id=np.zeros(count), theories=({'kind': kind},),
    )  # fmt: skip


@pytest.fixture(scope='module')
def job():
    frames = {'teacher_00': make_frames(1), 'dft_01': make_frames(2, 2, 'dft', HAS_FORCES, core=1)}
    return make_job({'elements': ELEMENTS, 'fit': {'cutoff': 4.0}}, frames, REFERENCE, None)


@pytest.fixture(scope='module')
def rows(job):
    return make_learning_set(job.sources, job.fit, job.reference)


def test_baseline_and_zero_are_taken_from_energies_and_forces(job, rows):
    assert rows.names[:3] == ('from dft_01 row 0', 'from dft_01 row 1', 'from teacher_00 row 0')
    teacher = job.sources['teacher_00'].frames
    energies, forces, _ = REFERENCE.baseline.evaluate(teacher.atoms(0))
    assert abs(energies.sum()) > 1e-3  # the baseline is felt, else the test shows nothing
    assert rows.energy[2] == pytest.approx(teacher.energy[0] - energies.sum(), abs=1e-12)
    assert rows.corrected[2] == pytest.approx(rows.energy[2] + 2 * 3.0 + 2 * 5.0, abs=1e-12)
    assert np.allclose(rows.forces[rows.frames.span(2)], teacher.forces[:4] - forces, atol=1e-12)


@pytest.mark.parametrize(('policy', 'learnt'), [('use', [0, 1, 2]), ('leave_out', [0, 2])])
def test_flagged_labels_are_learnt_or_left_out(policy, learnt):
    frames = make_frames(3, 3, 'dft').with_columns(
        theory_id=np.array([0, 1, 0]), theories=({'kind': 'dft'}, {'kind': 'dft', 'flags': ['degauss']})
    )
    chosen = {'elements': ELEMENTS, 'fit': {'cutoff': 4.0, 'flagged_labels': policy}}
    job = make_job(chosen, {'dft': frames}, REFERENCE, None)
    names = make_learning_set(job.sources, job.fit, job.reference).names
    assert names == tuple(f'from dft row {row}' for row in learnt)


def test_a_cutout_teaches_the_forces_of_its_core_alone(rows):
    """What has no label is 0 with weight 0, never NaN, which pacemaker refuses."""
    assert rows.weights_energy[:2].tolist() == [0.0, 0.0] and rows.corrected[:2].tolist() == [0.0, 0.0]
    span = rows.frames.span(0)
    assert (rows.weights_forces[span] > 0).tolist() == [False, True, False, False]
    assert np.isfinite(rows.forces).all() and not rows.forces[span][[0, 2, 3]].any() and rows.forces[span][1].any()


def test_the_loss_is_the_embedded_trainers():
    """For any residuals, pacemaker's loss is that of the embedded trainer times a constant."""
    rng = np.random.default_rng(0)
    config = FitConfig(weight_energy=2.0, weight_forces=30.0, weight_dft=10.0)
    sources = {'a': (make_frames(1), 1.0), 'b': (make_frames(2, 3, core=1, mask=HAS_FORCES), 10.0)}
    parts = {name: weigh_source(frames, config, factor=factor) for name, (frames, factor) in sources.items()}
    kappa = force_share(list(parts.values()))
    total = {kind: sum(getattr(part, kind).sum() for part in parts.values()) for kind in ('energy', 'forces')}
    ratios = []
    for _ in range(3):
        ours = theirs = 0.0
        for name, (frames, factor) in sources.items():
            errors_e, errors_f = rng.normal(size=len(frames)), rng.normal(size=(frames.n_atoms, 3))
            theirs += (1 - kappa) * parts[name].energy @ errors_e**2 / total['energy']
            theirs += kappa * parts[name].forces @ (errors_f**2).sum(axis=1) / total['forces']
            labelled = {'energy': len(frames) * (name == 'a'), 'forces': 3.0 * frames.force_weight.sum()}
            row = RowWeights.from_config(config).row_factors(labelled)
            ours += factor * row['forces'] ** 2 * frames.force_weight @ (errors_f**2).sum(axis=1)
            ours += factor * row.get('energy', 0.0) ** 2 * (errors_e**2).sum()
        ratios.append(ours / theirs)
    assert np.allclose(ratios, ratios[0], rtol=1e-12)


def test_default_weights_are_a_small_kappa():
    """1/100 of meV an atom and 0.1 eV/Å: an energy error of 1 meV costs what 0.01 eV/Å does in each component."""
    whole = weigh_source(make_frames(1), FitConfig())
    assert force_share([whole]) == pytest.approx(1.0 / 301.0, rel=1e-12)
    assert force_share([weigh_source(make_frames(1, mask=HAS_FORCES), FitConfig())]) == 1.0
    with pytest.raises(ValueError, match='no frame has an energy or a force'):
        force_share([weigh_source(make_frames(1, mask=0), FitConfig())])


def test_stress_cannot_be_asked_for():
    assert 'no stress' in refuse_stress({'weight_stress': 1.0})
    assert refuse_stress({}) is None and refuse_stress({'weight_stress': 0.0}) is None
    assert 'both 0' in refuse_stress({'weight_energy': 0, 'weight_forces': 0})


def test_dft_counts_more_after_each_source_counts_one(job):
    factors = {name: source.factor for name, source in job.sources.items()}
    assert factors == {'teacher_00': 1.0, 'dft_01': 10.0}
    sums = {name: weigh_source(source.frames, job.fit, factor=source.factor) for name, source in job.sources.items()}
    dft, teacher = (sums[name].forces.sum() for name in ('dft_01', 'teacher_00'))
    assert dft == pytest.approx(10.0 * teacher * 101.0 / 100.0)  # of the teacher's loss 1/101 is energy


def test_the_pickle_names_nothing_of_our_environment(rows, tmp_path):
    """numpy 2 and pandas 3 keep their parts elsewhere than numpy 1.26 and pandas 2.0: only public names are used."""
    rows.write(tmp_path / 'training.pckl.gzip')
    content = gzip.decompress((tmp_path / 'training.pckl.gzip').read_bytes())
    names = {argument for opcode, argument, _ in __import__('pickletools').genops(content) if isinstance(argument, str)}
    assert {'pandas', 'DataFrame', 'ase', 'fromdict', 'ndarray', 'importlib', 'import_module'} <= names
    assert not {name for name in names if '_core' in name or 'pandas.' in name or 'ase.' in name}
    table = pickle.loads(content)
    assert list(table.columns) == ['name', 'ase_atoms', 'energy', 'energy_corrected', 'forces', 'w_energy', 'w_forces']
    assert len(table) == 6 and table['name'][2] == 'from teacher_00 row 0'
    row = table.iloc[2]
    assert np.array_equal(row.forces, rows.forces[rows.frames.span(2)]) and row.forces.flags.writeable
    assert np.array_equal(row.ase_atoms.positions, rows.frames.positions[rows.frames.span(2)])
    assert row.ase_atoms.get_chemical_symbols() == ['Ni', 'Al', 'Ni', 'Al'] and row.ase_atoms.pbc.all()
    assert row.energy == rows.energy[2] and row.w_energy == rows.weights_energy[2]
    with pytest.raises(ValueError, match='one length'):
        write_dataframe(tmp_path / 'x', {'a': [1], 'b': [1, 2]})


def test_places_left_by_small_sources_go_to_the_others():
    drawn = draw_replay({'a': 3, 'b': 100, 'c': 100}, size=43, rng=np.random.default_rng(0))
    assert {name: len(found) for name, found in drawn.items()} == {'a': 3, 'b': 20, 'c': 20}
    assert all(len(set(found)) == len(found) and np.all(np.diff(found) > 0) for found in drawn.values())
    other_order = draw_replay({'c': 100, 'b': 100, 'a': 3}, size=43, rng=np.random.default_rng(0))
    assert all(np.array_equal(drawn[name], other_order[name]) for name in drawn)
