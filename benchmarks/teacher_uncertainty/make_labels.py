"""Label small silicon cells with ``pw.x``: what the uncertainties of teachers are judged on.

``python make_labels.py WORK [FILE.npz]``: every finished frame is one file in WORK, so that a stopped run goes on where
it was; FILE is written when all are there. Norm-conserving PBE pseudopotential of Debian's quantum-espresso-data,
18 Ry, Gaussian smearing of 0.01 Ry, 0.25/Å of k-points: small enough for one core, not meant for anything else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, diamond100
from ase.io import read, write

from aiida_pyacemaker.science.frames import HAS_ENERGY, HAS_FORCES, Frames

PSEUDO_DIR, PSEUDO = Path('/usr/share/espresso/pseudo'), 'Si.pbe-rrkj.UPF'
SHORTEST = 1.9  # Å: closer pairs are of no use to anybody
CONTROL = """&CONTROL
 calculation='scf', prefix='x', outdir='./tmp', pseudo_dir='{folder}', tprnfor=.true., disk_io='none'
/
&SYSTEM
 ibrav=0, nat={count}, ntyp=1, ecutwfc=18.0, occupations='smearing', smearing='gaussian', degauss=0.01, nosym=.true.
/
&ELECTRONS
 conv_thr=1d-7, mixing_beta=0.5, electron_maxstep=200
/
ATOMIC_SPECIES
 Si 28.086 {pseudo}
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
{atoms}
K_POINTS automatic
 {grid} 0 0 0
"""


def shake(atoms: Atoms, size: float, rng: np.random.Generator) -> Atoms:
    """Return the atoms displaced by Gaussian steps of ``size`` in Å, drawn again while two come too close."""
    for _ in range(1000):
        moved = atoms.copy()
        moved.positions += rng.normal(0, size, moved.positions.shape)
        distances = (moved * (2, 2, 2)).get_all_distances(mic=True)
        if distances[distances > 0].min() > SHORTEST:
            return moved
    raise ValueError(f'steps of {size} Å bring atoms closer than {SHORTEST} Å in every one of 1000 draws')


def strain(atoms: Atoms, size: float, rng: np.random.Generator) -> Atoms:
    """Return the atoms in a cell strained by up to ``size`` in every component."""
    turned = rng.uniform(-size, size, (3, 3))
    strained = atoms.copy()
    strained.set_cell(atoms.cell[:] @ (np.eye(3) + (turned + turned.T) / 2), scale_atoms=True)
    return strained


def make_frames(seed: int = 7) -> Iterator[tuple[str, Atoms]]:
    """Yield kind and structure, from what every model of silicon knows to what few do."""
    rng = np.random.default_rng(seed)
    cubic = bulk('Si', a=5.46, cubic=True)
    for size in np.linspace(0.03, 0.12, 10):
        yield 'crystal', shake(cubic, size, rng)
    for _ in range(10):
        yield 'strained', shake(strain(bulk('Si', a=5.46), 0.1, rng), 0.06, rng)
    for size in np.linspace(0.04, 0.15, 8):
        vacancy = cubic.copy()
        del vacancy[0]
        yield 'vacancy', shake(vacancy, size, rng)
    for crystal, length in (('sc', 2.55), ('fcc', 3.85), ('bcc', 3.1)):
        for stretch in (0.95, 1.0, 1.06):
            cell = bulk('Si', crystal, a=length * stretch, cubic=True)
            yield 'dense', shake(cell * (2, 1, 1) if len(cell) < 4 else cell, 0.06, rng)
    for size in np.linspace(0.2, 0.4, 8):
        yield 'disordered', shake(cubic, size, rng)
    slab = diamond100('Si', (1, 1, 6), a=5.46, vacuum=4.0)
    slab.pbc = True
    for size in np.linspace(0.03, 0.15, 5):
        yield 'surface', shake(slab, size, rng)


def label(atoms: Atoms, folder: Path) -> Atoms | None:
    """Return the atoms with energy and forces of ``pw.x``, or ``None`` when it did not converge."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.linalg.norm(np.linalg.inv(atoms.cell[:]).T, axis=1)
    rows = '\n'.join(' '.join(f'{value:.10f}' for value in row) for row in atoms.cell[:])
    sites = '\n'.join('Si ' + ' '.join(f'{value:.10f}' for value in row) for row in atoms.positions)
    grid = ' '.join(str(max(1, round(2 * np.pi * length / 0.25))) for length in lengths)
    text = CONTROL.format(folder=PSEUDO_DIR, pseudo=PSEUDO, count=len(atoms), cell=rows, atoms=sites, grid=grid)
    (folder / 'pw.in').write_text(text)
    with (folder / 'pw.out').open('w') as out:
        subprocess.run(['/usr/bin/pw.x', '-in', 'pw.in'], cwd=folder, stdout=out, stderr=out, check=False)
    if 'convergence has been achieved' not in (folder / 'pw.out').read_text():
        return None
    return read(folder / 'pw.out', format='espresso-out')


def main() -> None:
    """Label what is not labelled yet and, once all is, write the file."""
    work = Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    wanted = list(make_frames())
    for index, (kind, atoms) in enumerate(wanted):
        target = work / f'{index:03d}.xyz'
        if not target.exists():
            done = label(atoms, work / 'run')
            said = 'failed' if done is None else f'{done.get_potential_energy():.4f} eV'
            print(index, kind, len(atoms), said, flush=True)
            write(target, done if done is not None else Atoms(), format='extxyz')
    if len(sys.argv) > 2:
        write_frames(Path(sys.argv[2]), work, [kind for kind, _ in wanted])


def write_frames(target: Path, work: Path, kinds: list[str]) -> None:
    """Write the labelled frames as columns."""
    theory = {'kind': 'dft', 'code': 'pw.x 6.7', 'pseudo': PSEUDO, 'ecutwfc_Ry': 18.0, 'degauss_Ry': 0.01}
    found = [(kind, read(work / f'{index:03d}.xyz')) for index, kind in enumerate(kinds)]
    found = [(kind, atoms) for kind, atoms in found if len(atoms)]
    structures = [atoms for _, atoms in found]
    Frames.from_atoms(
        structures,
        energy=np.array([atoms.get_potential_energy(force_consistent=True) for atoms in structures]),
        forces=np.concatenate([atoms.get_forces() for atoms in structures]),
        label_mask=np.full(len(found), HAS_ENERGY | HAS_FORCES),
        config_type=np.array([kind for kind, _ in found]),
        theory_id=np.zeros(len(found), int),
        theories=(theory,),
    ).save(target)
    print(f'{len(found)} of {len(kinds)} frames in {target}; 1 Ry/bohr = {units.Ry / units.Bohr:.3f} eV/Å')


if __name__ == '__main__':
    main()
