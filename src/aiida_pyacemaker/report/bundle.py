"""A potential as a folder that somebody else can run: files, a LAMMPS script, a page of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FEWEST_ATOMS, MOST_ATOMS = 32, 128

SCRIPT = """# {elements}: 300 K, 0.5 ps, with the extrapolation grade written for every atom.
# lmp -in in.lmp           LAMMPS with ML-PACE
# pyacemaker-lmp -in in.lmp   without it
units           metal
atom_style      atomic
boundary        {boundary}
read_data       structure.data
{pair_lines}
neighbor        1.0 bin
neigh_modify    every 1 delay 0 check yes
velocity        all create 300 1 loop geom
fix             grade all pair 10 pace/extrapolation gamma 1
fix             move all nvt temp 300 300 0.1
timestep        0.001
compute         gamma_max all reduce max f_grade
thermo_style    custom step temp pe etotal press c_gamma_max
thermo          50
run             500
"""

README = """# The potential

| file | what |
|---|---|
| `potential.yaml` | the potential in pacemaker's B-basis, for `pair_style pace/extrapolation` |
| `potential.asi` | its active set: with it LAMMPS computes the extrapolation grade γ of every atom |
| `potential.yace` | the same potential for `pair_style pace` (faster, no γ) |
| `baseline.table`, `baseline.json` | the repulsive wall it was fitted on top of; always to be added |
| `in.lmp`, `structure.data` | a run that works as it is: `lmp -in in.lmp`, or `pyacemaker-lmp -in in.lmp` |

Elements, in the order of the atom types: {elements}. The lines every script needs:

```
{pair_lines}
```

γ up to about 1 is interpolation; well above the thresholds the run was made with, do not trust the forces.
"""


def write_potential_bundle(potential: Any, structure: Any, folder: Path) -> tuple[str, ...]:
    """Write files, ``structure.data``, ``in.lmp`` and a README into ``folder``; return the pair lines.

    potential: an AcePotentialData; structure: a dataset whose first frame is run, repeated where it is a small crystal.
    """
    from ase.io import write

    from ..science.pools import most_compact_supercell

    potential.write_to(folder)
    elements = tuple(potential.elements)
    lines = tuple(potential.pair_lines(elements))
    atoms = structure.get_frames().atoms(0)
    if len(atoms) < FEWEST_ATOMS:  # a primitive cell has no temperature
        atoms = most_compact_supercell(atoms, max_atoms=MOST_ATOMS)
    write(folder / 'structure.data', atoms, format='lammps-data', specorder=list(elements), masses=True)
    text = SCRIPT.format(
        elements=' '.join(elements),
        boundary=' '.join('p' if periodic else 's' for periodic in atoms.pbc),
        pair_lines='\n'.join(lines),
    )
    (folder / 'in.lmp').write_text(text)
    (folder / 'README.md').write_text(README.format(elements=' '.join(elements), pair_lines='\n'.join(lines)))
    return lines
