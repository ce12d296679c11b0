"""Frames as batches of graphs in mace's own form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from .engine import Dtype


def make_batch(model: Any, structures: Sequence[Atoms], *, dtype: Dtype, device: str) -> dict[str, Any]:
    """Return the tensors that ``model`` wants for these structures, neighbour lists included."""
    from mace import data
    from mace.tools import AtomicNumberTable, torch_geometric, torch_tools

    heads = list(getattr(model, 'heads', None) or ['Default'])
    head = next((name for name in heads if name.lower() == 'default'), heads[0])
    table = AtomicNumberTable([int(number) for number in model.atomic_numbers])
    cutoff = float(model.r_max)
    keys = data.KeySpecification(info_keys={}, arrays_keys={})
    with torch_tools.default_dtype(dtype):
        configs = [data.config_from_atoms(atoms, key_specification=keys, head_name=head) for atoms in structures]
        graphs = [data.AtomicData.from_config(config, z_table=table, cutoff=cutoff, heads=heads) for config in configs]
    batch: dict[str, Any] = torch_geometric.Batch.from_data_list(graphs).to(device).to_dict()
    return batch


def make_batches(
    models: Sequence[Any], structures: Sequence[Atoms], *, dtype: Dtype, device: str
) -> list[dict[str, Any]]:
    """Return one batch a model; models with equal elements and cut-off share their tensors."""
    shared: dict[tuple[Any, ...], dict[str, Any]] = {}
    batches = []
    for model in models:
        key = (
            float(model.r_max),
            tuple(int(number) for number in model.atomic_numbers),
            tuple(getattr(model, 'heads', None) or ()),
        )
        if key not in shared:
            shared[key] = make_batch(model, structures, dtype=dtype, device=device)
        batches.append(dict(shared[key]))
    return batches


def is_sane(atoms: Atoms) -> bool:
    """Say whether all coordinates are finite and periodic directions have a volume."""
    finite = bool(np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell[:]).all())
    return finite and (not atoms.pbc.all() or abs(atoms.cell.volume) > 0.0)
