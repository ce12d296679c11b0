"""A foundation model, or a committee of them, as a node."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aiida import orm

MACE = 'mace'
FACTS = {'family', 'elements', 'cutoff_A', 'dtype'}


class LicenceWarning(UserWarning):
    """A model that may not be used for everything."""


class TeacherModelData(orm.Data):
    """One or several files ``model_0.model``, ``model_1.model``, ...: the committee's members in order.

    A teacher of another family than MACE is a card ``model_0.json``, which says which plug-in opens what. Attributes:
    family (``mace`` or the plug-in), sha256 of each file, elements, cut-off in Å, dtype, licence, source, versions of
    the programs that it needs or that made it.
    """

    @classmethod
    def from_name(
        cls,
        names: str | Path | Sequence[str | Path],
        *,
        licence: str | None = None,
        cache_dir: str | Path | None = None,
        addresses: Mapping[str, str] | None = None,
    ) -> TeacherModelData:
        """Return an unstored node of what a user calls a teacher, downloaded where it is not here yet.

        names: one name a member; a file, an address, a foundation model (``medium-mpa-0``) or a plug-in (``chgnet``);
        licence: where the files do not tell; cache_dir, addresses: as :func:`..science.teacher.resolve_model`. A
        licence that forbids commercial use is a :class:`LicenceWarning`. Raise ``ValueError`` for an unknown name,
        ``ConnectionError`` when a model cannot be fetched.
        """
        from ..science.teacher import find_teacher, licence_notice

        found = find_teacher(names, cache_dir=cache_dir, addresses=addresses)
        terms = licence or found.licence
        notice = licence_notice(terms)
        if notice:
            warnings.warn(notice, LicenceWarning, stacklevel=2)
        return cls.from_files(
            found.paths,
            source=found.source,
            licence=terms,
            description=found.facts,
            versions=found.teacher.versions(),
        )

    @classmethod
    def from_files(
        cls,
        paths: Sequence[str | Path],
        *,
        source: str,
        licence: str,
        description: Mapping[str, object] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> TeacherModelData:
        """Return an unstored node of model files or cards, in order.

        source: where they came from (address, script or process); licence: SPDX name or sentence; description:
        `family`, `elements`, `cutoff_A` and `dtype` when already known, else the files are loaded to read them;
        versions: by program name. Raise ``ValueError`` for no file or a missing one.
        """
        files = [Path(path) for path in paths]
        missing = [str(path) for path in files if not path.is_file()]
        if not files or missing:
            raise ValueError(f'teacher: {len(files)} files named, missing {missing}; give at least one existing file')
        facts = dict(description) if description is not None else _read_facts(files)
        unknown = sorted(set(facts) ^ FACTS)
        if unknown:
            raise ValueError(f'description: missing or unknown {unknown}; expected {", ".join(sorted(FACTS))}')
        node = cls()
        node.base.attributes.set_many(
            {
                **facts,
                'n_members': len(files),
                'sha256': [hashlib.sha256(path.read_bytes()).hexdigest() for path in files],
                'source': source,
                'licence': licence,
                'versions': dict(versions or {}),
            }
        )
        for name, path in zip(node.file_names, files, strict=True):
            node.base.repository.put_object_from_file(path, name)
        return node

    @property
    def family(self) -> str:
        """``mace``, or the name of the plug-in."""
        return str(self.base.attributes.get('family'))

    @property
    def is_trainable(self) -> bool:
        """Whether DFT can go into this teacher; one of a plug-in stays as it is."""
        return self.family == MACE

    @property
    def licence(self) -> str:
        """SPDX name or sentence."""
        return str(self.base.attributes.get('licence'))

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols all members know, in alphabetical order."""
        return tuple(self.base.attributes.get('elements'))

    @property
    def n_members(self) -> int:
        """Size of the committee."""
        return int(self.base.attributes.get('n_members'))

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the model files, in the order of the members."""
        suffix = '.model' if self.family == MACE else '.json'
        return tuple(f'model_{index}{suffix}' for index in range(self.n_members))

    def write_to(self, folder: str | Path) -> tuple[Path, ...]:
        """Write the model files into ``folder``, made when missing; return their paths in the order of the members."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in self.file_names:
            (target / name).write_bytes(self.base.repository.get_object_content(name, mode='rb'))
        return tuple(target / name for name in self.file_names)

    def check_elements(self, elements: Iterable[str]) -> None:
        """Raise ``ValueError`` when the teacher does not know one of ``elements``."""
        unknown = sorted(set(elements) - set(self.elements))
        if unknown:
            raise ValueError(
                f'the teacher <{self.pk}> knows {", ".join(self.elements)}, not {", ".join(unknown)}: '
                'give a model that was trained on them'
            )


def _read_facts(files: Sequence[Path]) -> dict[str, object]:
    from ..science.teacher import describe_teacher, load_teacher

    return describe_teacher(load_teacher(files))
