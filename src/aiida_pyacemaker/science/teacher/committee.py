"""A teacher: one model or a committee of them, loaded and ready to be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from .engine import CommitteeLabels, Dtype, Engine, join_labels
from .mace import open_mace
from .plugins.cards import is_card, read_card

MACE = 'mace'


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A committee of models of one family.

    family: ``mace`` or the name of a plug-in; engines: what answers, members in order; elements: symbols all members
    know, in alphabetical order; cutoff: the largest cut-off in Å; digest: sha256 of the members' sha256, in order.
    """

    family: str
    engines: tuple[Engine, ...]
    elements: tuple[str, ...]
    cutoff: float
    digest: str

    @property
    def sha256(self) -> tuple[str, ...]:
        """What decides the answers of each member."""
        return tuple(value for engine in self.engines for value in engine.sha256)

    @property
    def n_members(self) -> int:
        """Size of the committee."""
        return len(self.sha256)

    @property
    def dtype(self) -> Dtype:
        """Precision of the evaluation."""
        return self.engines[0].dtype

    @property
    def has_stress(self) -> bool:
        """Whether every periodic label must have a stress."""
        return all(engine.HAS_STRESS for engine in self.engines)

    @property
    def batch_atoms(self) -> int:
        """How many atoms together are fastest."""
        return min(engine.batch_atoms for engine in self.engines)

    @property
    def theory(self) -> dict[str, Any]:
        """What a label of this teacher is: the row of ``Frames.theories``."""
        return {
            'kind': 'teacher',
            'family': self.family,
            'digest': self.digest,
            'n_members': self.n_members,
            'dtype': self.dtype,
        }

    def evaluate(self, structures: Sequence[Atoms]) -> CommitteeLabels:
        """Ask every member about all structures at once."""
        return join_labels([engine.evaluate(structures) for engine in self.engines], members=True)

    def describe(self, structures: Sequence[Atoms]) -> NDArray[np.float64]:
        """Return (m, D), the first member's invariant features of every atom."""
        return self.engines[0].describe(structures)

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that a label depends on."""
        return package_versions(self.engines[0].PACKAGES)

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


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of the distributions that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def load_teacher(
    paths: Sequence[str | Path] | str | Path, *, dtype: Dtype = 'float64', device: str | None = None
) -> Teacher:
    """Load one or several files as a committee: MACE's ``.model`` files, or cards of one plug-in (``.json``).

    A model file is a pickle and a card names code: load only files you trust. dtype: the precision of the evaluation,
    as far as the family has a choice; device: default the GPU when there is one. Raise ``ValueError`` naming the file
    when it is missing, truncated or no model, or when the files are of several families.
    """
    files = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not files:
        raise ValueError('a teacher needs at least one model file, found none')
    cards = [read_card(path) if is_card(path) else None for path in files]
    families = sorted({MACE if card is None else card.teacher for card in cards})
    if len(families) > 1:
        raise ValueError(f'a committee is of one family, found {", ".join(families)} in {", ".join(map(str, files))}')
    if families == [MACE]:
        return assemble(MACE, (open_mace(files, dtype=dtype, device=device),))
    return assemble(families[0], tuple(card.open(dtype=dtype, device=device) for card in cards if card is not None))


def assemble(family: str, engines: tuple[Engine, ...]) -> Teacher:
    """Return the teacher of these engines."""
    elements = set.intersection(*(set(engine.elements) for engine in engines))
    if not elements:
        raise ValueError(f'the {len(engines)} members of the committee have no element in common')
    sums = [value for engine in engines for value in engine.sha256]
    return Teacher(
        family=family,
        engines=engines,
        elements=tuple(sorted(elements)),
        cutoff=max(engine.cutoff for engine in engines),
        digest=hashlib.sha256('\n'.join(sums).encode()).hexdigest(),
    )
