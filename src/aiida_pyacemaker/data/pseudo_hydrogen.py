"""The UPF file of a hydrogen of fractional charge as a node."""

from __future__ import annotations

import re
from typing import Any

from aiida_pseudo.data.pseudo.upf import UpfData, parse_element

Z_VALENCE = re.compile(r'\bz_valence\s*=\s*"\s*([^"]+)"')


class PseudoHydrogenData(UpfData):
    """A UPF pseudopotential of hydrogen whose valence is no whole number: :class:`UpfData` holds whole ones only."""

    def set_file(self, source: Any, filename: str | None = None, **kwargs: Any) -> None:
        """Set the content; raise ``ValueError`` when it is not that of a hydrogen or names no valence.

        source: a path, or a stream of bytes.
        """
        stream = self.prepare_source(source)
        super(UpfData, self).set_file(stream, filename, **kwargs)
        stream.seek(0)
        content = stream.read().decode()
        found = Z_VALENCE.search(content)
        if found is None:
            raise ValueError('no z_valence in the header, expected UPF version 2')
        self.element = parse_element(content)
        if self.element != 'H':
            raise ValueError(f'element {self.element} in the header, expected H')
        self.z_valence = float(found[1])

    @property
    def z_valence(self) -> float:
        """Electrons that the neutral atom brings."""
        return float(self.base.attributes.get(self._key_z_valence))

    @z_valence.setter
    def z_valence(self, value: float) -> None:
        if not value > 0:
            raise ValueError(f'z_valence = {value}, expected more than 0')
        self.base.attributes.set(self._key_z_valence, float(value))
