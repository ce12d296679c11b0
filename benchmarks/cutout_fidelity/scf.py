"""One static SCF of Debian's ``pw.x`` with the settings of the factory, its result kept as a piece of JSON."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io.espresso import write_fortran_namelist
from ase.units import Bohr, Rydberg

from aiida_pyacemaker.science.config import DftConfig
from aiida_pyacemaker.science.dft import count_electrons, scf_work
from aiida_pyacemaker.workflows.dft.scf_inputs import ONE_THREAD, atom_kinds, kpoint_mesh, scf_parameters

PSEUDOS = Path('/usr/share/espresso/pseudo')
WEAKER_MIXING = 0.15
FORCE = re.compile(r'atom\s+\d+ type\s+\d+\s+force =\s+(\S+)\s+(\S+)\s+(\S+)')


@dataclass(frozen=True, kw_only=True)
class Theory:
    """Pseudopotentials by element, cut-offs (Ry) and what else the settings say; the same for parent and cutout.

    mixing_beta: of the first try, where the factory's is not good.
    """

    pseudos: dict[str, str]
    cutoffs_Ry: tuple[float, float]
    dft: DftConfig
    valence: dict[str, float]
    mixing_beta: float | None = None

    def key(self) -> dict[str, Any]:
        """Return what distinguishes this theory from another in a piece."""
        names = ('kpoints_distance', 'degauss', 'smearing', 'conv_thr_per_atom')
        settings = {name: getattr(self.dft, name) for name in names}
        return {'pseudos': self.pseudos, 'cutoffs_Ry': list(self.cutoffs_Ry), **settings}


def read_valence(name: str) -> float:
    """Return the valence electrons that a UPF file states, version 1 or 2."""
    text = (PSEUDOS / name).read_text(errors='replace')
    found = re.search(r'z_valence\s*=\s*"\s*([\d.EeDd+-]+)|([\d.EeDd+-]+)\s+Z valence', text)
    if found is None:
        raise ValueError(f'{name} states no valence')
    return float((found.group(1) or found.group(2)).replace('D', 'e'))


def make_theory(pseudos: dict[str, str], cutoffs_Ry: tuple[float, float], **dft: Any) -> Theory:
    """Return a theory with its valences read."""
    valence = {element: read_valence(name) for element, name in pseudos.items()}
    return Theory(pseudos=pseudos, cutoffs_Ry=cutoffs_Ry, dft=DftConfig(**dft), valence=valence)


def write_input(path: Path, atoms: Atoms, theory: Theory, parameters: dict[str, Any], shift: tuple[int, ...]) -> None:
    """Write the input of ``pw.x``: namelists, species, positions in Å, cell and k-points."""
    kinds = atom_kinds(atoms)
    names = sorted(set(kinds))
    system = {key: value for key, value in parameters['SYSTEM'].items() if key != 'starting_magnetization'}
    for kind, start in parameters['SYSTEM'].get('starting_magnetization', {}).items():
        system[f'starting_magnetization({names.index(kind) + 1})'] = start
    system |= {'ibrav': 0, 'nat': len(atoms), 'ntyp': len(names)}
    files = {'pseudo_dir': str(PSEUDOS), 'outdir': 'out', 'prefix': 'piece'}
    namelists = {
        'control': {**parameters['CONTROL'], **files},
        'system': system,
        'electrons': parameters['ELECTRONS'],
        'ions': {},
        'cell': {},
    }
    mesh = kpoint_mesh(atoms, theory.dft.kpoints_distance)
    header = io.StringIO()
    write_fortran_namelist(header, namelists)
    with path.open('w') as handle:
        handle.write(header.getvalue().removesuffix('EOF'))
        handle.write('ATOMIC_SPECIES\n')
        for name in names:
            element = name.rstrip('0123456789')
            handle.write(f'{name} {atomic_masses[atomic_numbers[element]]:.3f} {theory.pseudos[element]}\n')
        handle.write('CELL_PARAMETERS angstrom\n')
        np.savetxt(handle, atoms.cell[:], fmt='%.10f')
        handle.write('ATOMIC_POSITIONS angstrom\n')
        for kind, (x, y, z) in zip(kinds, atoms.positions, strict=True):
            handle.write(f'{kind} {x:.10f} {y:.10f} {z:.10f}\n')
        if mesh == (1, 1, 1) and not any(shift):
            handle.write('K_POINTS gamma\n')
        else:
            handle.write(f'K_POINTS automatic\n{" ".join(map(str, (*mesh, *shift)))}\n')


def run_scf(
    name: str, atoms: Atoms, theory: Theory, pieces: Path, *, shift: tuple[int, ...] = (0, 0, 0), nspin: str = 'auto'
) -> dict[str, Any]:
    """Return the piece of one SCF, from ``pieces`` where it is there, else run it and put it there.

    nspin: 'auto' as the factory would, 'one' without spins however many electrons there are.
    """
    identity = {
        'name': name,
        'numbers': atoms.numbers.tolist(),
        'positions': np.round(atoms.positions, 8).tolist(),
        'cell': np.round(atoms.cell[:], 8).tolist(),
        'theory': theory.key(),
        'shift': list(shift),
        'nspin': nspin,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    path = pieces / f'{name}_{digest}.json'
    if path.is_file():
        return json.loads(path.read_text())
    spins = {'odd_electrons': 'refuse'} if nspin == 'one' else {}
    dft = theory.dft.model_copy(update=spins)
    parameters = scf_parameters(atoms, dft, theory.cutoffs_Ry, {}, theory.valence)
    folder = pieces.parent / 'scratch' / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    start, beta, answer = time.monotonic(), None, None
    for beta in (theory.mixing_beta or parameters['ELECTRONS']['mixing_beta'], WEAKER_MIXING):
        parameters['ELECTRONS']['mixing_beta'] = beta
        write_input(folder / 'pw.in', atoms, theory, parameters, shift)
        answer = call_pw(folder, len(atoms))
        if answer['converged']:
            break
    system = parameters['SYSTEM']
    mesh = kpoint_mesh(atoms, theory.dft.kpoints_distance)
    work = scf_work(
        atoms,
        n_electrons=count_electrons(list(atom_kinds(atoms)), theory.valence),
        ecutwfc_Ry=system['ecutwfc'],
        n_kpoints=int(np.prod(mesh)),
        n_spins=system.get('nspin', 1),
    )
    piece = {
        **{key: identity[key] for key in ('name', 'theory', 'shift', 'nspin')},
        **answer,
        'mixing_beta': beta,
        'mesh': mesh,
        'work': work,
        'wall_s': time.monotonic() - start,
    }
    pieces.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    part.write_text(json.dumps(piece))
    part.rename(path)
    return piece


def call_pw(folder: Path, n_atoms: int) -> dict[str, Any]:
    """Run ``pw.x`` on one core; return whether it converged, (n, 3) forces in eV/Å, energy in eV and its own times."""
    environment = {**ONE_THREAD, 'PATH': '/usr/bin:/bin', 'HOME': str(folder)}
    with (folder / 'pw.out').open('w') as out:
        subprocess.run(
            ['/usr/bin/pw.x', '-in', 'pw.in'], cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment
        )
    text = (folder / 'pw.out').read_text(errors='replace')
    # the total forces come first, contributions after them only in verbose output
    forces = np.array(FORCE.findall(text)[:n_atoms], dtype=float).reshape(-1, 3) * Rydberg / Bohr
    energy = re.findall(r'!\s+total energy\s+=\s+(\S+)', text)
    cpu = re.search(r'PWSCF\s+:\s+(.*?)\s*CPU', text)
    done = 'convergence has been achieved' in text and len(forces) == n_atoms
    moments = re.findall(r'absolute magnetization\s+=\s+(\S+)', text)
    return {
        'converged': done,
        'energy_eV': float(energy[-1]) * Rydberg if energy else None,
        'forces_eV_per_A': forces.tolist() if done else None,
        'absolute_magnetisation_muB': float(moments[-1]) if moments else None,
        'n_iterations': len(re.findall(r'iteration #', text)),
        'cpu_s': read_seconds(cpu.group(1)) if cpu else None,
    }


def read_seconds(text: str) -> float:
    """Return seconds of a time as ``pw.x`` prints it, ``1h 2m`` or ``3m 4.50s``."""
    parts = {unit: float(value) for value, unit in re.findall(r'([\d.]+)\s*([hms])', text)}
    return 3600 * parts.get('h', 0.0) + 60 * parts.get('m', 0.0) + parts.get('s', 0.0)
