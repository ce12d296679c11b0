"""A fitted ACE potential as a node: basis, tables for LAMMPS, active set and baseline as files of fixed names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aiida import orm

FILES = ('potential.yaml', 'potential.yace', 'potential.asi', 'baseline.json', 'baseline.table', 'canary.json')
REQUIRED = ('potential.yaml',)


class AcePotentialData(orm.Data):
    """An ACE in pacemaker's B-basis: ``potential.yaml``, ``.yace``, active set ``.asi``, baseline, its table, canary.

    Attributes: elements, cut-off in Å, number of functions an element, digest of the frozen basis, sha256 of every
    file, kind of baseline, metrics of the fit.
    """

    @classmethod
    def from_folder(cls, path: str | Path, *, metrics: Mapping[str, Any] | None = None) -> AcePotentialData:
        """Return an unstored node of the files in ``path``; ``ValueError`` names what is missing or does not fit."""
        from ..science.ace import AcePotential, ActiveSet

        folder = Path(path)
        present = [name for name in FILES if (folder / name).is_file()]
        missing = [name for name in REQUIRED if name not in present]
        if missing:
            raise ValueError(f'{folder} holds {present}, expected also {missing}: give the folder that a fit wrote')
        potential = AcePotential.read(folder / 'potential.yaml')
        if 'potential.asi' in present:
            ActiveSet.read(folder / 'potential.asi').of(potential)
        node = cls()
        for name in present:
            node.base.repository.put_object_from_file(folder / name, name)
        node.base.attributes.set_many(
            {
                'elements': list(potential.elements),
                'cutoff_A': float(potential.cutoff),
                'n_functions': dict(zip(potential.elements, map(int, potential.n_functions), strict=True)),
                'basis_digest': potential.digest,
                'sha256': {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in present},
                'metrics': dict(metrics or {}),
            }
        )
        return node

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the potential's file: the order of LAMMPS atom types."""
        return tuple(self.base.attributes.get('elements'))

    @property
    def cutoff(self) -> float:
        """Largest cut-off in Å."""
        return float(self.base.attributes.get('cutoff_A'))

    @property
    def has_baseline(self) -> bool:
        """Whether a reference pair potential is added to the ACE."""
        return 'baseline.json' in self.base.attributes.get('sha256')

    def write_to(self, folder: str | Path) -> None:
        """Write all files into ``folder``, which is made when it does not exist."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in self.base.repository.list_object_names():
            (target / name).write_bytes(self.base.repository.get_object_content(name, mode='rb'))

    def pair_lines(
        self, elements: Iterable[str] | None = None, *, extrapolation: bool = True, folder: str = ''
    ) -> tuple[str, ...]:
        """Return the ``pair_style`` and ``pair_coeff`` lines for LAMMPS; folder: of the files, with its slash."""
        symbols = self.elements if elements is None else tuple(elements)
        self.check_elements(symbols)
        style = 'pace/extrapolation' if extrapolation else 'pace'
        files = f'{folder}potential.yaml {folder}potential.asi' if extrapolation else f'{folder}potential.yace'
        names = ' '.join(symbols)
        if not self.has_baseline:
            return f'pair_style {style}', f'pair_coeff * * {files} {names}'
        from ..science.baseline import PairBaseline
        from ..science.baseline.table import TABLE_POINTS

        baseline = PairBaseline.from_json(self.base.repository.get_object_content('baseline.json'))
        coefficients = tuple(baseline.lammps_pair_coeffs(symbols, f'{folder}baseline.table'))
        return (
            f'pair_style hybrid/overlay {style} table spline {TABLE_POINTS}',
            f'pair_coeff * * {style} {files} {names}',
            *coefficients,
        )

    def check_elements(self, elements: Iterable[str]) -> None:
        """Raise ``ValueError`` when the potential does not know one of ``elements``."""
        unknown = sorted(set(elements) - set(self.elements))
        if unknown:
            raise ValueError(
                f'the potential <{self.pk}> knows {", ".join(self.elements)}, not {", ".join(unknown)}: '
                'distil one for these elements'
            )
