"""MACE model files as a teacher."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from .engine import CommitteeLabels, Dtype, Engine
from .graphs import make_batch, make_batches
from .registry import file_sha256

WIDTH_TIMES_ATOMS, BATCH_ATOMS = 60_000, (32, 400)
LOAD_ERRORS = (
    RuntimeError, OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, KeyError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class MaceEngine(Engine):
    """A committee of MACE models with frozen parameters, in the order of their files; they share neighbour lists."""

    PACKAGES: ClassVar[tuple[str, ...]] = ('mace-torch', 'e3nn', 'torch')

    models: tuple[Any, ...]

    def evaluate(self, structures: Sequence[Atoms]) -> CommitteeLabels:
        """Ask every member about all structures at once; neighbour lists are built once."""
        energy, forces, stress = [], [], []
        batches = make_batches(self.models, structures, dtype=self.dtype, device=self.device)
        for model, batch in zip(self.models, batches, strict=True):
            batch['positions'] = batch['positions'].detach().clone()
            answer = model(batch, compute_stress=True, training=False)
            energy.append(_numpy(answer['energy']))
            forces.append(_numpy(answer['forces']))
            stress.append(full_3x3_to_voigt_6_stress(_numpy(answer['stress']).reshape(-1, 3, 3)))
        periodic = np.array([atoms.pbc.all() for atoms in structures])
        voigt = np.where(periodic[None, :, None], np.array(stress), np.nan)
        return CommitteeLabels(energy=np.array(energy), forces=np.array(forces), stress=voigt)

    def describe(self, structures: Sequence[Atoms]) -> NDArray[np.float64]:
        """Return (m, D), the first member's invariant atomic features of all layers."""
        import torch
        from e3nn.o3 import Irreps

        model = self.models[0]
        columns = _invariant_columns([Irreps(str(product.linear.irreps_out)) for product in model.products])
        if not structures:
            return np.zeros((0, len(columns)))
        batch = make_batch(model, structures, dtype=self.dtype, device=self.device)
        with torch.no_grad():
            return _numpy(model(batch, compute_force=False)['node_feats'])[:, columns]


def open_mace(paths: Sequence[Path], *, dtype: Dtype, device: str | None) -> MaceEngine:
    """Return the committee of the model files; raise ``ValueError`` naming the file when it is no MACE model."""
    import torch

    where = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    models = tuple(load_module(path, dtype=dtype, device=where) for path in paths)
    for model in models:
        model.requires_grad_(False)
    known = [{int(number) for number in model.atomic_numbers} for model in models]
    elements = tuple(sorted(chemical_symbols[number] for number in set.intersection(*known)))
    if not elements:
        raise ValueError(f'the models {", ".join(map(str, paths))} have no element in common')
    return MaceEngine(
        models=models,
        elements=elements,
        cutoff=max(float(model.r_max) for model in models),
        dtype=dtype,
        device=where,
        sha256=tuple(file_sha256(path) for path in paths),
        batch_atoms=batch_that_suits(models) if where == 'cpu' else Engine.batch_atoms,
    )


def batch_that_suits(models: Sequence[Any]) -> int:
    """Return how many atoms a CPU is asked about at once: fewer for models with wide messages, as far as these tell.

    A batch saves what is spent once a call. A wide message (5120 numbers a bond in a model of the size of MACE-MPA-0,
    144 in the example's) leaves little to save, and many of them together only leave the caches of the processor.
    """
    products: list[Any] = [
        getattr(interaction, 'conv_tp', None) for model in models for interaction in model.interactions
    ]
    widths = [product.irreps_out.dim for product in products if hasattr(product, 'irreps_out')]
    return int(np.clip(WIDTH_TIMES_ATOMS / max(widths), *BATCH_ATOMS)) if widths else Engine.batch_atoms


def load_module(path: Path, *, dtype: Dtype, device: str) -> Any:
    """Load one MACE module in evaluation mode; raise ``ValueError`` naming the file when it cannot be one."""
    os.environ.setdefault('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    import mace.modules  # noqa: F401  (must come before any e3nn import)
    import torch

    if not path.is_file():
        raise ValueError(f'model file {path} does not exist')
    try:
        model = torch.load(path, map_location=device, weights_only=False)
    except LOAD_ERRORS as error:
        raise ValueError(
            f'{path} cannot be read as a MACE model ({type(error).__name__}: {error}): it is truncated, no model, or '
            'of another version of mace; fetch it again'
        ) from error
    if not all(hasattr(model, name) for name in ('atomic_numbers', 'r_max', 'readouts', 'interactions')):
        raise ValueError(f'{path} holds a {type(model).__name__}, expected a MACE model')
    heads = list(getattr(model, 'heads', None) or ['Default'])
    if len(heads) > 1 and 'default' not in [head.lower() for head in heads]:
        raise ValueError(
            f'{path} has the heads {", ".join(heads)} and none is the default: select one with mace_select_head'
        )
    return model.to(dtype=getattr(torch, dtype)).eval()


def _invariant_columns(layers: Sequence[Any]) -> NDArray[np.int64]:
    """Return the columns of the concatenated features that hold scalars; a layer is an ``Irreps``."""
    columns, offset = [], 0
    for irreps in layers:
        for (_, irrep), part in zip(irreps, irreps.slices(), strict=True):
            if irrep.l == 0 and irrep.p == 1:
                columns.append(np.arange(part.start, part.stop) + offset)
        offset += irreps.dim
    return np.concatenate(columns)


def _numpy(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
