"""A teacher: one MACE model or a committee of them, loaded and ready to be asked."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from .registry import file_sha256

Dtype = Literal['float32', 'float64']


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A committee of MACE models with frozen parameters.

    models: the modules, in the order of the files; elements: symbols all members know, in alphabetical order; cutoff:
    the largest cut-off in Å; digest: sha256 of the members' sha256, in order.
    """

    models: tuple[Any, ...]
    elements: tuple[str, ...]
    cutoff: float
    dtype: Dtype
    device: str
    sha256: tuple[str, ...]
    digest: str

    @property
    def n_members(self) -> int:
        """Size of the committee."""
        return len(self.models)

    @property
    def theory(self) -> dict[str, Any]:
        """What a label of this teacher is: the row of ``Frames.theories``."""
        return {
            'kind': 'teacher',
            'family': 'mace',
            'digest': self.digest,
            'n_members': self.n_members,
            'dtype': self.dtype,
        }

    def check_numbers(self, numbers: ArrayLike) -> None:
        """Raise ``ValueError`` naming the elements (by atomic number) that a member does not know."""
        present = {chemical_symbols[number] for number in np.unique(numbers)}
        check_elements(present, self.elements)


def check_elements(present: Iterable[str], known: Sequence[str]) -> None:
    """Raise ``ValueError`` when an element is not among the known ones."""
    unknown = sorted(set(present) - set(known))
    if unknown:
        raise ValueError(
            f'the teacher knows {", ".join(known)}, not {", ".join(unknown)}: give a model trained on them'
        )


def load_teacher(
    paths: Sequence[str | Path] | str | Path, *, dtype: Dtype = 'float64', device: str | None = None
) -> Teacher:
    """Load one or several ``.model`` files as a committee with frozen parameters.

    A model file is a pickle: load only files you trust. dtype: the precision of every evaluation; device: default the
    GPU when there is one. Raise ``ValueError`` naming the file when it is missing, truncated or no MACE model.
    """
    import torch

    files = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not files:
        raise ValueError('a teacher needs at least one model file, found none')
    where = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    models = tuple(load_module(path, dtype=dtype, device=where) for path in files)
    for model in models:
        model.requires_grad_(False)
    known = [{int(number) for number in model.atomic_numbers} for model in models]
    elements = tuple(sorted(chemical_symbols[number] for number in set.intersection(*known)))
    if not elements:
        raise ValueError(f'the models {", ".join(map(str, files))} have no element in common')
    sums = tuple(file_sha256(path) for path in files)
    return Teacher(
        models=models,
        elements=elements,
        cutoff=max(float(model.r_max) for model in models),
        dtype=dtype,
        device=where,
        sha256=sums,
        digest=hashlib.sha256('\n'.join(sums).encode()).hexdigest(),
    )


def load_module(path: Path, *, dtype: Dtype, device: str) -> Any:
    """Load one MACE module in evaluation mode; raise ``ValueError`` naming the file when it cannot be one."""
    os.environ.setdefault('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    import mace.modules  # noqa: F401  (must come before any e3nn import)
    import torch

    if not path.is_file():
        raise ValueError(f'model file {path} does not exist')
    try:
        model = torch.load(path, map_location=device, weights_only=False)
    except (
        RuntimeError,
        OSError,
        EOFError,
        pickle.UnpicklingError,
        AttributeError,
        ImportError,
        KeyError,
        ValueError,
    ) as error:
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
