"""Fine-tuning of the readouts alone, on masked forces, held to where they started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import FinetuneConfig
from ..frames import HAS_FORCES, SHELL_BUFFER, SHELL_CORE, SHELL_ENVIRONMENT, SHELL_FROZEN, SHELL_NONE, Frames
from .batches import split_batches
from .committee import check_elements
from .graphs import make_batch
from .mace import load_module

BATCH_ATOMS = 128
# which shells beyond the core a force is learnt on
FURTHER_SHELLS = {'core': (), 'frozen': (SHELL_FROZEN,), 'all': (SHELL_FROZEN, SHELL_BUFFER, SHELL_ENVIRONMENT)}


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """One batch of labelled graphs as tensors: weight (m, 1), forces (m, 3) eV/Å where the weight is positive."""

    graph: dict[str, Any]
    weight: Any
    forces: Any


def training_weights(frames: Frames, forces_on: str) -> NDArray[np.float64]:
    """Return (M,) the weight of each atom's force row.

    Core atoms and atoms of frames that were not cut out weigh ``force_weight``. forces_on: 'core' stops there; 'frozen'
    adds the frozen shell, 'all' every atom but caps, at weight 1 (their ``force_weight`` is 0 because the *student*
    must not learn them). Atoms of frames without force labels weigh nothing. Raise ``ValueError`` when no row is left,
    a weight is negative or not finite, or a weighted force is not finite.
    """
    labelled = (frames.label_mask & HAS_FORCES) > 0
    inner = np.isin(frames.shell, (SHELL_NONE, SHELL_CORE))
    weights = np.where(inner, frames.force_weight, np.isin(frames.shell, FURTHER_SHELLS[forces_on]))
    weights = np.where(labelled[frames.frame_of_atom()], weights, 0.0)
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError('force_weight must be finite and not negative in every frame to train on')
    if not (weights > 0).any():
        raise ValueError(
            f'no force to learn from: {len(frames)} frames, forces_on {forces_on!r}, no labelled atom of weight > 0'
        )
    bad = (weights > 0) & ~np.isfinite(frames.forces).all(axis=1)
    if bad.any():
        owners = np.unique(frames.frame_of_atom()[bad])
        raise ValueError(
            f'{int(bad.sum())} forces of weight > 0 are not finite, in frames {owners[:5].tolist()}: weigh them 0'
        )
    return weights


def finetune_readouts(
    paths: Sequence[str | Path], frames: Frames, config: FinetuneConfig, *, seed: int, output_dir: str | Path
) -> tuple[tuple[Path, ...], list[dict[str, Any]]]:
    """Train the readouts of every member on the frames' forces and write ``model_0.model``, ... into ``output_dir``.

    Minimises  sum_i w_i |F_i - F_i^ref|² / sum_i w_i  +  anchor_weight |θ - θ0|² / |θ0|²   (eV²/Å²)  over the readout
    parameters θ with Adam in batches whose order is drawn from ``seed``; w as :func:`training_weights`. A force of
    weight 0 is never read. Everything else in the model, E0 included, stays as it is. The parameters of the epoch with
    the least loss are kept, the starting ones included. Same seed, same machine, same threads: same weights.

    Return the paths and, per member, ``loss`` (epochs + 1), ``rmse_before`` and ``rmse_after`` (eV/Å per component,
    weighted) and ``best_epoch``. Raise ``ValueError`` for labels that cannot be learnt, unknown elements or unreadable
    files, ``FloatingPointError`` when the loss is not finite.
    """
    import torch

    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    weights = training_weights(frames, config.forces_on)
    streams = np.random.default_rng(seed).spawn(len(paths))
    written, history = [], []
    for index, path in enumerate(paths):
        model = load_module(Path(path), dtype='float64', device='cpu')
        _check_numbers(model, frames)
        batches = _make_batches(model, frames, weights)
        original = torch.load(path, map_location='cpu', weights_only=False)
        history.append(_train(model, batches, config, streams[index], str(path)))
        _copy_readouts(model, original)
        target = folder / f'model_{index}.model'
        torch.save(original, target.with_suffix('.part'))
        os.replace(target.with_suffix('.part'), target)
        written.append(target)
    return tuple(written), history


def _check_numbers(model: Any, frames: Frames) -> None:
    from ase.data import chemical_symbols

    known = [chemical_symbols[int(number)] for number in model.atomic_numbers]
    check_elements((chemical_symbols[number] for number in np.unique(frames.numbers)), known)


def _make_batches(model: Any, frames: Frames, weights: NDArray[np.float64]) -> list[_Batch]:
    """Return the batches of the frames that have weight; a label of weight 0 becomes 0 before it is a tensor."""
    import torch

    owner = frames.frame_of_atom()
    useful = np.flatnonzero(np.bincount(owner, weights=weights, minlength=len(frames)) > 0)
    chosen = frames.select(useful)
    mask = weights[np.isin(owner, useful)]
    forces = np.where(mask[:, None] > 0, chosen.forces, 0.0)
    structures = list(chosen.iter_atoms())
    batches = []
    for part in split_batches(np.diff(chosen.offsets).tolist(), BATCH_ATOMS):
        rows = slice(int(chosen.offsets[part.start]), int(chosen.offsets[part.stop]))
        graph = make_batch(model, structures[part], dtype='float64', device='cpu')
        batches.append(_Batch(graph=graph, weight=torch.tensor(mask[rows, None]), forces=torch.tensor(forces[rows])))
    return batches


def _squared_error(model: Any, batch: _Batch, *, training: bool) -> Any:
    """Return sum_i w_i |F_i - F_i^ref|², exactly independent of rows of weight 0."""
    import torch

    graph = {**batch.graph, 'positions': batch.graph['positions'].detach().clone()}
    difference = model(graph, training=training, compute_force=True)['forces'] - batch.forces
    masked = torch.where(batch.weight > 0, difference, torch.zeros_like(difference))
    return torch.sum(batch.weight * masked**2)


def _train(
    model: Any, batches: list[_Batch], config: FinetuneConfig, rng: np.random.Generator, name: str
) -> dict[str, Any]:
    """Train the readouts in place and leave the best ones in the model."""
    import torch

    model.requires_grad_(False)
    readouts = list(model.readouts.parameters())
    for parameter in readouts:
        parameter.requires_grad_(True)
    start = [parameter.detach().clone() for parameter in readouts]
    scale = sum(torch.sum(parameter**2) for parameter in start)
    total = float(sum(batch.weight.sum() for batch in batches))

    def anchor() -> Any:
        distance = sum(torch.sum((now - then) ** 2) for now, then in zip(readouts, start, strict=True))
        return config.anchor_weight * distance / scale

    def measure() -> tuple[float, float]:
        error = float(sum(float(_squared_error(model, batch, training=False).detach()) for batch in batches)) / total
        loss = error + float(anchor().detach())
        if not np.isfinite(loss):
            raise FloatingPointError(f'the loss of {name} became {loss}: lower learning_rate {config.learning_rate}')
        return loss, error

    optimizer = torch.optim.Adam(readouts, lr=config.learning_rate)
    first, error = measure()
    losses, errors, best, kept = [first], [error], 0, start
    for epoch in range(1, config.max_epochs + 1):
        for index in rng.permutation(len(batches)):
            batch = batches[index]
            optimizer.zero_grad()
            # on the average over the batches this is the gradient of the loss, however unequal their weights
            (_squared_error(model, batch, training=True) * (len(batches) / total) + anchor()).backward()
            optimizer.step()
        loss, error = measure()
        losses.append(loss)
        errors.append(error)
        if loss < losses[best]:
            best, kept = epoch, [parameter.detach().clone() for parameter in readouts]
    with torch.no_grad():
        for parameter, value in zip(readouts, kept, strict=True):
            parameter.copy_(value)
    rmse = np.sqrt(np.array(errors) / 3.0)
    return {'loss': losses, 'best_epoch': best, 'rmse_before': float(rmse[0]), 'rmse_after': float(rmse[best])}


def _copy_readouts(trained: Any, target: Any) -> None:
    """Copy the trained readouts into the untouched module of the file, in its own precision."""
    import torch

    with torch.no_grad():
        for new, old in zip(trained.readouts.parameters(), target.readouts.parameters(), strict=True):
            old.copy_(new.to(dtype=old.dtype))
