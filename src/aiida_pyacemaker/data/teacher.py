"""A foundation model, or a committee of them, as a node."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aiida import orm


class TeacherModelData(orm.Data):
    """One or several MACE files ``model_0.model``, ``model_1.model``, ...: the committee's members in order.

    Attributes: sha256 of each file, elements, cut-off in Å, dtype, licence, source, versions of
    the programs that made it.
    """

    FAMILY = 'mace'

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
        """Return an unstored node of model files, in order.

        source: where they came from (address, script or process); licence: SPDX name or sentence; description:
        `elements`, `cutoff_A` and `dtype` when already known, else the files are loaded to read them; versions: by
        program name. Raise ``ValueError`` for no file or a missing one.
        """
        files = [Path(path) for path in paths]
        missing = [str(path) for path in files if not path.is_file()]
        if not files or missing:
            raise ValueError(f'teacher: {len(files)} files named, missing {missing}; give at least one existing file')
        facts = dict(description) if description is not None else _read_facts(files)
        unknown = sorted(set(facts) ^ {'elements', 'cutoff_A', 'dtype'})
        if unknown:
            raise ValueError(f'description: missing or unknown {unknown}; expected elements, cutoff_A, dtype')
        node = cls()
        for index, path in enumerate(files):
            node.base.repository.put_object_from_file(path, f'model_{index}.model')
        node.base.attributes.set_many(
            {
                **facts,
                'family': cls.FAMILY,
                'n_members': len(files),
                'sha256': [hashlib.sha256(path.read_bytes()).hexdigest() for path in files],
                'source': source,
                'licence': licence,
                'versions': dict(versions or {}),
            }
        )
        return node

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
        return tuple(f'model_{index}.model' for index in range(self.n_members))

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
    from ..science.teacher import load_teacher

    teacher = load_teacher(files)
    return {'elements': sorted(teacher.elements), 'cutoff_A': float(teacher.cutoff), 'dtype': 'float64'}
