"""Fine-tuning: only the readouts move, only weighted forces are read, and the error falls."""

import numpy as np
import pytest
import torch
from ase import Atoms

from aiida_pyacemaker.science.config import FinetuneConfig
from aiida_pyacemaker.science.frames import (
    HAS_FORCES,
    SHELL_BUFFER,
    SHELL_CAP,
    SHELL_CORE,
    SHELL_FROZEN,
    SHELL_NONE,
    Frames,
)
from aiida_pyacemaker.science.teacher import finetune_readouts, label_frames, load_teacher, readouts
from aiida_pyacemaker.science.teacher.readouts import training_weights

QUICK = FinetuneConfig(max_epochs=8, learning_rate=5e-3, anchor_weight=0.01)


@pytest.fixture(scope='module')
def dft_like(teacher, structures) -> Frames:
    """Label the cells with forces 15 % stiffer than the teacher's; even atoms are core, odd ones buffer."""
    chosen = Frames.from_atoms([structures[0], structures[2]])
    labelled = label_frames(teacher, chosen)
    shell = np.where(np.arange(chosen.n_atoms) % 2 == 0, SHELL_CORE, SHELL_BUFFER)
    mask = np.full(2, HAS_FORCES)
    return chosen.with_columns(forces=1.15 * labelled.forces, label_mask=mask, shell=shell)


def parameters(path):
    return torch.load(path, map_location='cpu', weights_only=False).state_dict()


def test_only_readouts_change_and_the_error_falls(models, dft_like, tmp_path):
    paths, history = finetune_readouts(models[:2], dft_like, QUICK, seed=3, output_dir=tmp_path)
    for old, new, row in zip(models, paths, history, strict=False):
        before, after = parameters(old), parameters(new)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed and all(name.startswith('readouts.') for name in changed)
        assert before.keys() == after.keys()
        assert all(before[name].dtype == after[name].dtype for name in before)
        assert len(row['loss']) == QUICK.max_epochs + 1
        assert row['loss'][row['best_epoch']] == min(row['loss']) < row['loss'][0]
        assert row['rmse_after'] < 0.9 * row['rmse_before']
    told = label_frames(load_teacher(paths[0]), dft_like)
    core = dft_like.shell == SHELL_CORE
    rmse = np.sqrt(np.mean((told.forces - dft_like.forces)[core] ** 2))
    # the file is single precision, the history was computed in double
    assert rmse == pytest.approx(history[0]['rmse_after'], rel=1e-4)


def test_labels_of_weight_zero_are_never_read(models, dft_like, tmp_path):
    outside = dft_like.shell != SHELL_CORE
    nonsense = np.where(outside[:, None], 1e6, dft_like.forces)
    nonsense[np.flatnonzero(outside)[0]] = np.nan
    for folder, forces in (('clean', dft_like.forces), ('corrupt', nonsense)):
        finetune_readouts(models[:1], dft_like.with_columns(forces=forces), QUICK, seed=3, output_dir=tmp_path / folder)
    clean, corrupt = (parameters(tmp_path / folder / 'model_0.model') for folder in ('clean', 'corrupt'))
    assert all(torch.equal(clean[name], corrupt[name]) for name in clean)


def test_a_force_counts_by_its_weight_whatever_batch_it_is_in(models, dft_like, tmp_path, monkeypatch):
    monkeypatch.setattr(readouts, 'BATCH_ATOMS', 1)  # a batch a frame
    light = dft_like.frame_of_atom() == 1
    mixed = dft_like.with_columns(
        forces=np.where(light[:, None], -dft_like.forces, dft_like.forces),
        force_weight=np.where(light, 1e-6, dft_like.force_weight),
    )
    errors = {}
    for name, frames in (('alone', dft_like.select([0])), ('mixed', mixed)):
        _, (row,) = finetune_readouts(models[:1], frames, QUICK, seed=3, output_dir=tmp_path / name)
        errors[name] = row['rmse_after'] / row['rmse_before']
    assert errors['mixed'] < 2.0 * errors['alone'] < 0.5  # twice the steps of Adam end elsewhere near the minimum


def test_the_seed_decides_and_nothing_else(models, dft_like, tmp_path):
    many = dft_like.select([0] * 16 + [1] * 16)  # two batches, one of each
    short = QUICK.model_copy(update={'max_epochs': 5})
    weights = []
    for number, seed in enumerate((1, 1, 2)):
        finetune_readouts(models[:1], many, short, seed=seed, output_dir=tmp_path / str(number))
        state = parameters(tmp_path / str(number) / 'model_0.model')
        weights.append(torch.cat([state[name].flatten() for name in sorted(state) if name.startswith('readouts.')]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_strong_anchor_holds(models, dft_like, tmp_path):
    loose, tight = QUICK, QUICK.model_copy(update={'anchor_weight': 1e4})
    distances = []
    for name, config in (('loose', loose), ('tight', tight)):
        (path,), _ = finetune_readouts(models[:1], dft_like, config, seed=1, output_dir=tmp_path / name)
        start, end = parameters(models[0]), parameters(path)
        keys = [key for key in start if key.startswith('readouts.')]
        distances.append(sum(float(((end[key] - start[key]) ** 2).sum()) for key in keys))
    assert distances[1] < 0.1 * distances[0]


def test_e0_stays(models, dft_like, tmp_path):
    (path,), _ = finetune_readouts(models[:1], dft_like, QUICK, seed=1, output_dir=tmp_path)
    name = 'atomic_energies_fn.atomic_energies'
    assert torch.equal(parameters(path)[name], parameters(models[0])[name])
    assert parameters(path)[name].flatten().tolist() == pytest.approx([-1.11, -0.83])


@pytest.mark.parametrize(
    ('forces_on', 'expected'), [('core', [2, 1, 0, 0, 0]), ('frozen', [2, 1, 1, 0, 0]), ('all', [2, 1, 1, 1, 0])]
)
def test_which_forces_count(forces_on, expected):
    frames = Frames.from_atoms([Atoms('Si5', positions=np.arange(15).reshape(5, 3))]).with_columns(
        shell=np.array([SHELL_NONE, SHELL_CORE, SHELL_FROZEN, SHELL_BUFFER, SHELL_CAP]),
        force_weight=np.array([2.0, 1, 0, 0, 0]),  # as a cutout's: the student learns the core only
        forces=np.zeros((5, 3)),
        label_mask=np.array([HAS_FORCES]),
    )
    np.testing.assert_array_equal(training_weights(frames, forces_on), expected)


def test_labels_that_cannot_be_learnt_are_refused(models, dft_like, tmp_path):
    forces = dft_like.forces.copy()
    forces[0, 1] = np.nan
    with pytest.raises(ValueError, match=r'1 forces of weight > 0 are not finite, in frames \[0\]'):
        finetune_readouts(models, dft_like.with_columns(forces=forces), QUICK, seed=1, output_dir=tmp_path)
    with pytest.raises(ValueError, match='no force to learn from'):
        finetune_readouts(models, dft_like.with_columns(label_mask=np.zeros(2)), QUICK, seed=1, output_dir=tmp_path)
    with pytest.raises(ValueError, match='not negative'):
        weights = np.full(dft_like.n_atoms, -1.0)
        finetune_readouts(models, dft_like.with_columns(force_weight=weights), QUICK, seed=1, output_dir=tmp_path)
    with pytest.raises(ValueError, match='not Fe'):
        numbers = np.full(dft_like.n_atoms, 26)
        finetune_readouts(models, dft_like.with_columns(numbers=numbers), QUICK, seed=1, output_dir=tmp_path)
    assert not list(tmp_path.glob('*.model'))


def test_a_run_that_blows_up_leaves_no_model(models, dft_like, tmp_path):
    wild = FinetuneConfig(max_epochs=5, learning_rate=1e200)
    with pytest.raises(FloatingPointError, match='lower learning_rate'):
        finetune_readouts(models[:1], dft_like, wild, seed=1, output_dir=tmp_path)
    assert not list(tmp_path.glob('*.model'))
