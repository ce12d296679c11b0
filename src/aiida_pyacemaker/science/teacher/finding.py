"""From what a user calls a teacher to files on this machine, loaded once to know them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .committee import Teacher, load_teacher, package_versions
from .plugins.cards import Card, is_card, named_card, read_card
from .registry import ASL, UNKNOWN_LICENCE, ResolvedModel, default_cache, file_sha256, resolve_model


@dataclass(frozen=True, kw_only=True)
class FoundTeacher:
    """A teacher and the files that it was loaded from, in the order of the names."""

    teacher: Teacher
    members: tuple[ResolvedModel, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the members."""
        return tuple(member.path for member in self.members)

    @property
    def licence(self) -> str:
        """The licences of all members, each once."""
        return '; '.join(dict.fromkeys(member.licence for member in self.members))

    @property
    def source(self) -> str:
        """Where the members came from."""
        return '; '.join(member.source for member in self.members)

    @property
    def facts(self) -> dict[str, object]:
        """What a node says of the teacher."""
        return describe_teacher(self.teacher)


def find_teacher(
    names: str | Path | Sequence[str | Path],
    *,
    cache_dir: str | Path | None = None,
    addresses: Mapping[str, str] | None = None,
) -> FoundTeacher:
    """Return the teacher that a name, or one name a member, stands for.

    A name is a file (a MACE model or a card), an http(s) address, a foundation model of mace (see
    :func:`~.registry.resolve_model`, which takes the other arguments) or a plug-in: ``chgnet``, ``chgnet:r2scan``.
    Raise ``ValueError`` for an unknown name, ``ConnectionError`` when a model cannot be fetched.
    """
    given = [names] if isinstance(names, (str, Path)) else list(names)
    members = []
    for name in given:
        card = read_card(name) if is_card(name) else named_card(str(name))
        if card is None:
            members.append(resolve_model(name, cache_dir=cache_dir, addresses=addresses))
        else:
            members.append(_fill_card(card, Path(cache_dir) if cache_dir is not None else default_cache()))
    return FoundTeacher(teacher=load_teacher([member.path for member in members]), members=tuple(members))


def describe_teacher(teacher: Teacher) -> dict[str, object]:
    """Return family, elements, cut-off in Å and dtype."""
    return {
        'family': teacher.family,
        'elements': list(teacher.elements),
        'cutoff_A': float(teacher.cutoff),
        'dtype': teacher.dtype,
    }


def licence_notice(licence: str) -> str | None:
    """Return a sentence that a user must see before using a model of that licence, or ``None``."""
    if ASL in licence:
        return (
            f'the licence of this teacher is {ASL}: labels and potentials made with it are for academic, not for '
            'commercial use'
        )
    if UNKNOWN_LICENCE in licence:
        return 'the licence of this teacher is not known: find out what it allows before you publish or sell'
    return None


def _fill_card(card: Card, folder: Path) -> ResolvedModel:
    """Write the card with the sha256 of what is installed here into the cache."""
    engine = card.open()
    full = replace(card, sha256=engine.sha256[0])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{card.teacher}-{engine.sha256[0][:12]}.json'
    descriptor, part = tempfile.mkstemp(dir=folder, suffix='.part')
    with os.fdopen(descriptor, 'w') as out:
        out.write(full.text())
    os.replace(part, path)
    versions = package_versions(engine.PACKAGES[:1])
    source = ', '.join([f'plug-in {card.name}', *(f'{name} {value}' for name, value in versions.items())])
    licence = engine.licence or UNKNOWN_LICENCE
    return ResolvedModel(path=path, sha256=file_sha256(path), licence=licence, source=source)
