"""Frames as batches of graphs in the form that MACE models take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from ..neighbours import box_around
from .engine import Dtype


def make_batch(model: Any, structures: Sequence[Atoms], *, dtype: Dtype, device: str) -> dict[str, Any]:
    """Return the tensors that ``model`` wants for these structures, neighbour lists included.

    One set of arrays for all structures goes into torch, not one a structure: small cells would spend more time there
    than in the model.
    """
    import torch

    counts = np.array([len(atoms) for atoms in structures])
    starts = np.concatenate([[0], np.cumsum(counts)])
    edges, images, cells = list_edges(structures, float(model.r_max), starts)
    owner = np.repeat(np.arange(len(structures)), counts)
    known = [int(number) for number in model.atomic_numbers]
    column = np.full(max(known) + 1, -1)
    column[known] = np.arange(len(known))
    one_hot = np.zeros((starts[-1], len(known)))
    one_hot[np.arange(starts[-1]), column[np.concatenate([atoms.numbers for atoms in structures])]] = 1.0
    reals = {
        'positions': np.concatenate([atoms.positions for atoms in structures]),
        'node_attrs': one_hot,
        'unit_shifts': images,
        'shifts': np.einsum('ij,ijk->ik', images, cells[owner[edges[0]]]),
        'cell': cells.reshape(-1, 3),
        'total_charge': np.zeros(len(structures)),
        'total_spin': np.ones(len(structures)),
    }
    whole = {'edge_index': edges, 'batch': owner, 'ptr': starts, 'head': np.full(len(structures), default_head(model))}
    batch = {name: torch.tensor(values, dtype=getattr(torch, dtype), device=device) for name, values in reals.items()}
    return batch | {name: torch.tensor(values, dtype=torch.int64, device=device) for name, values in whole.items()}


def list_edges(
    structures: Sequence[Atoms], cutoff: float, starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return edges (2, E) of atoms counted through, images (E, 3) of the second and cells (n, 3, 3) Å; cutoff in Å."""
    edges, images, cells = [], [], []
    for start, atoms in zip(starts, structures, strict=False):
        cell, origin = box_around(atoms.positions, atoms.cell[:], atoms.pbc)
        first, second, image = neighbour_list(
            'ijS', positions=atoms.positions, cell=cell, cell_origin=origin, pbc=atoms.pbc, cutoff=cutoff,
            numbers=np.ones(len(atoms), np.int32),
        )  # fmt: skip
        edges.append(np.stack([first, second]) + start)
        images.append(image)
        cells.append(cell)
    return np.concatenate(edges, axis=1), np.concatenate(images).astype(float), np.array(cells)


def default_head(model: Any) -> int:
    """Return the number of the head called default, or of the first."""
    heads = [name.lower() for name in getattr(model, 'heads', None) or ['default']]
    return heads.index('default') if 'default' in heads else 0


def make_batches(
    models: Sequence[Any], structures: Sequence[Atoms], *, dtype: Dtype, device: str
) -> list[dict[str, Any]]:
    """Return one batch a model; models with equal elements and cut-off share their tensors."""
    shared: dict[tuple[Any, ...], dict[str, Any]] = {}
    batches = []
    for model in models:
        key = (float(model.r_max), tuple(int(number) for number in model.atomic_numbers), default_head(model))
        if key not in shared:
            shared[key] = make_batch(model, structures, dtype=dtype, device=device)
        batches.append(dict(shared[key]))
    return batches


def is_sane(atoms: Atoms) -> bool:
    """Say whether all coordinates are finite and periodic directions have a volume."""
    finite = bool(np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell[:]).all())
    return finite and (not atoms.pbc.all() or abs(atoms.cell.volume) > 0.0)
