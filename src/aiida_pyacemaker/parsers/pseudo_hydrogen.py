"""What ``ld1.x`` leaves: a pseudopotential, and whether its level is that of the atom."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from ..data.pseudo_hydrogen import PseudoHydrogenData
from ..science.dft.pseudo_hydrogen import UPF_FILE, name_element, read_levels
from .base import one_line

LEVEL_TOLERANCE_Ry = 1e-4  # printed to 1e-5; the two are equal by construction once both are converged
CHARGE_TOLERANCE_e = 1e-6


class PseudoHydrogenParser(Parser):
    """Attaches the UPF file, named hydrogen, and the levels."""

    CACHE_VERSION = 1

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Attach the outputs, or say what is missing or wrong."""
        name = self.node.get_option('output_filename')
        try:
            text = self.retrieved.base.repository.get_object_content(name)
        except FileNotFoundError:
            return self.exit_codes.ERROR_NO_OUTPUT.format(name=name, said='killed or never started')
        path = Path(retrieved_temporary_folder or '.') / UPF_FILE
        levels = read_levels(text)
        if levels is None or not path.is_file():
            return self.exit_codes.ERROR_NO_OUTPUT.format(name=UPF_FILE, said=error_of(text))
        full, pseudo = levels
        if full >= 0 or abs(full - pseudo) > LEVEL_TOLERANCE_Ry:
            return self.exit_codes.ERROR_NOT_BOUND.format(full=full, pseudo=pseudo)
        charge = self.node.inputs.charge.value
        try:
            node = PseudoHydrogenData(io.BytesIO(name_element(path.read_text()).encode()), filename=f'H_{charge:g}.UPF')
        except (ValueError, UnicodeDecodeError) as error:
            return self.exit_codes.ERROR_UNREADABLE_OUTPUT.format(message=one_line(error))
        if abs(node.z_valence - charge) > CHARGE_TOLERANCE_e:
            message = f'its valence is {node.z_valence}, asked for {charge}'
            return self.exit_codes.ERROR_UNREADABLE_OUTPUT.format(message=message)
        self.out('pseudo', node)
        facts = {'charge_e': charge, 'functional': self.node.inputs.functional.value}
        self.out('output_parameters', orm.Dict({**facts, 'level_full_Ry': full, 'level_pseudo_Ry': pseudo}))
        return None


def error_of(text: str) -> str:
    """Return what the program says after ``Error in routine``, else its last words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    start = next((number for number, line in enumerate(lines) if line.startswith('Error in routine')), None)
    said = lines[-1:] if start is None else lines[start : start + 2]
    return one_line(' '.join(said) or 'no words')
