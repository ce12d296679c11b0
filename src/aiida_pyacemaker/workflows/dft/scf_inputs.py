"""From settings and a frame to the input of one static SCF."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from aiida_pseudo.groups.mixins import RecommendedCutoffMixin
from ase import Atoms
from ase.data import atomic_numbers

from ...science.config import DftConfig
from ...science.dft import (
    check_electrons,
    choose_isolation,
    closest_pair,
    count_electrons,
    group_moments,
    is_closed_shell,
    is_magnetic,
    put_in_box,
    scf_work,
)
from ...science.dft.pseudo_hydrogen import cap_hosts, pseudo_hosts
from ...science.frames import SHELL_CAP, Frames
from ..protocol import merge

STARTING_MAGNETISATION = 0.4  # of the valence electrons
RADICAL_MAGNETISATION = 0.2  # one electron too many needs a nudge only
ONE_THREAD = {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
WALL_FRACTION = 0.95
GAMMA = 'gamma'
# a cluster's levels are discrete: cold smearing has several Fermi levels there and the SCF jumps between them (a hot
# 51-atom cluster: 80 iterations without convergence at mv and 0.7, 10 at gaussian and 0.3)
CLUSTER_SMEARING = 'gaussian'
MIXING_BETA = {'periodic': 0.7, 'cluster': 0.3}
STATED = ('ecutwfc', 'ecutrho', 'smearing', 'degauss', 'nspin')
# what a run's size or path decides is no part of a theory
NOT_THEORY = ('nbnd', 'occupations', 'starting_magnetization')


@dataclass(frozen=True, kw_only=True)
class ScfRequest:
    """What one frame asks of ``pw.x``.

    atoms: in its box, kinds as tags; kinds: one an atom; pseudos: UPF node by kind; problem: why no SCF should be
    started, or ``None``.
    """

    atoms: Atoms
    kinds: tuple[str, ...]
    pseudos: dict[str, Any]
    parameters: dict[str, Any]
    mesh: tuple[int, int, int]
    n_electrons: float
    problem: str | None

    @property
    def work(self) -> float:
        """The relative work of the SCF."""
        system = self.parameters['SYSTEM']
        first, second, third = self.mesh
        return scf_work(
            self.atoms,
            n_electrons=self.n_electrons,
            ecutwfc_Ry=system['ecutwfc'],
            n_kpoints=first * second * third,
            n_spins=system.get('nspin', 1),
        )


def make_request(
    frame: Frames,
    dft: DftConfig,
    cutoffs_Ry: tuple[float, float],
    pseudos: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
) -> ScfRequest:
    """Return what frame 0 of ``frame`` asks of ``pw.x``; ``overrides`` are namelists that win."""
    atoms = frame_atoms(frame, dft.vacuum, pseudo_hosts(pseudos))
    kinds = atom_kinds(atoms)
    by_kind = {kind: pseudos[_pseudo_name(kind, pseudos)] for kind in kinds}
    valence = {kind: float(pseudo.z_valence) for kind, pseudo in by_kind.items()}
    parameters = scf_parameters(atoms, dft, cutoffs_Ry, overrides, valence)
    electrons = count_electrons(list(kinds), valence, float(parameters['SYSTEM'].get('tot_charge', 0.0)))
    return ScfRequest(
        atoms=atoms,
        kinds=kinds,
        pseudos=by_kind,
        parameters=parameters,
        mesh=kpoint_mesh(atoms, dft.kpoints_distance),
        n_electrons=electrons,
        problem=closest_pair(atoms)
        or check_electrons(
            electrons,
            n_spins=parameters['SYSTEM'].get('nspin', 1),
            fixed_occupations=parameters['SYSTEM']['occupations'] == 'fixed',
            is_capped_cluster=bool(not atoms.pbc.any() and (frame.shell == SHELL_CAP).any()),
        ),
    )


def frame_atoms(frame: Frames, vacuum_A: float, hosts: Sequence[int] = ()) -> Atoms:
    """Return frame 0 as ``pw.x`` sees it: in a box, a tag for each group of equal starting moments, its charge.

    hosts: atomic numbers; a cap on one of these has that number as its tag, for a pseudo-hydrogen of its own. The
    other hydrogens are then one kind, whatever their moments.
    """
    atoms = put_in_box(frame.atoms(0), vacuum_A)
    tags, moments = group_moments(atoms.numbers, frame.magmom)
    hydrogen = atoms.numbers == 1
    if len(hosts) and hydrogen.any():
        host_of_cap = cap_hosts(atoms, frame.shell == SHELL_CAP)
        tags[hydrogen] = np.where(np.isin(host_of_cap, hosts), host_of_cap, 0)[hydrogen]
        moments[hydrogen] = moments[hydrogen].mean()
    atoms.set_tags(tags)
    atoms.set_initial_magnetic_moments(moments)
    atoms.info['charge'] = float(frame.charge[0])
    return atoms


def atom_kinds(atoms: Atoms) -> tuple[str, ...]:
    """Return the kind of each atom as ``StructureData`` names it: the symbol, and the tag unless it is 0."""
    symbols = atoms.get_chemical_symbols()
    return tuple(f'{symbol}{tag}' if tag else symbol for symbol, tag in zip(symbols, atoms.get_tags(), strict=True))


def _pseudo_name(kind: str, pseudos: Mapping[str, Any]) -> str:
    """Return the name of the pseudopotential of a kind: its own where there is one, else that of the element."""
    return kind if kind in pseudos else kind.rstrip('0123456789')


def scf_parameters(
    atoms: Atoms,
    dft: DftConfig,
    cutoffs_Ry: tuple[float, float],
    overrides: Mapping[str, Any] | None = None,
    valence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return the namelists of a static SCF with forces, and stress where ``atoms`` is periodic; ``overrides`` win.

    A cluster has gaussian smearing, whatever ``dft.smearing`` says of periodic frames. valence: electrons by kind,
    needed where ``atoms`` carries magnetic moments or may be a radical.
    """
    periodic = bool(atoms.pbc.any())
    charge = float(atoms.info.get('charge', 0.0))
    isolation = choose_isolation(atoms) if dft.assume_isolated == 'auto' else None
    system: dict[str, Any] = {
        'ecutwfc': cutoffs_Ry[0],
        'ecutrho': cutoffs_Ry[1],
        'occupations': 'smearing',
        'smearing': dft.smearing if periodic else CLUSTER_SMEARING,
        'degauss': dft.degauss,
        **({'tot_charge': charge} if charge else {}),
        **({'assume_isolated': isolation} if isolation else {}),
    }
    starts = starting_magnetisation(atoms, valence, spin_of_radicals=dft.odd_electrons == 'spin')
    if starts:
        system |= {'nspin': 2, 'starting_magnetization': starts}
    parameters = {
        'CONTROL': {
            'calculation': 'scf',
            'tprnfor': True,
            'tstress': bool(atoms.pbc.all()),
            'disk_io': 'low',
        },
        'SYSTEM': system,
        'ELECTRONS': {
            'conv_thr': dft.conv_thr_per_atom * len(atoms),
            'mixing_beta': MIXING_BETA['periodic' if periodic else 'cluster'],
            'electron_maxstep': dft.electron_maxstep,
        },
    }
    return merge(parameters, overrides or {})


def starting_magnetisation(
    atoms: Atoms, valence: Mapping[str, float] | None, *, spin_of_radicals: bool = True
) -> dict[str, float]:
    """Return the starting magnetisation (of the valence electrons) by kind; empty where one spin is enough.

    From the moments that ``atoms`` carries; else for the elements on the suspect list; else, with
    ``spin_of_radicals``, for an isolated frame whose electrons are no even number.
    """
    kinds = atom_kinds(atoms)
    moments = dict(zip(kinds, atoms.get_initial_magnetic_moments(), strict=True))
    if valence and any(moments.values()):
        return {kind: float(np.clip(moments[kind] / valence[kind], -1, 1)) for kind in sorted(moments)}
    suspects = {kind for kind, symbol in zip(kinds, atoms.get_chemical_symbols(), strict=True) if is_magnetic(symbol)}
    if suspects:
        return dict.fromkeys(sorted(suspects), STARTING_MAGNETISATION)
    if valence and spin_of_radicals and not atoms.pbc.any():
        electrons = count_electrons(list(kinds), valence, atoms.info.get('charge', 0.0))
        if not is_closed_shell(electrons):
            return dict.fromkeys(sorted(set(kinds)), RADICAL_MAGNETISATION)
    return {}


def find_cutoffs(dft: DftConfig, pseudos: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the cut-offs (Ry) of wave functions and density, or ``None`` when nothing says them.

    As asked for; else the highest that an installed family recommends which holds all ``pseudos``. A density cut-off
    that nobody says is 4 times the other for norm-conserving pseudopotentials, 8 times otherwise.
    """
    wanted = dft.ecutwfc, dft.ecutrho
    recommended = None if None not in wanted else _recommended_cutoffs(pseudos)
    wave = wanted[0] or (recommended[0] if recommended else None)
    if wave is None:
        return None
    factor = 4.0 if all(is_norm_conserving(pseudo) for pseudo in pseudos.values()) else 8.0
    density = wanted[1] or (recommended[1] if recommended and wanted[0] is None else factor * wave)
    return float(wave), float(density)


def is_norm_conserving(pseudo: Any) -> bool:
    """Say whether a UPF file (version 1 or 2) calls itself norm-conserving."""
    return re.search(r'pseudo_type\s*=\s*["\']\s*NC|^\s*NC\b', pseudo.get_content(), re.MULTILINE) is not None


def _recommended_cutoffs(pseudos: Mapping[str, Any]) -> tuple[float, float] | None:
    md5s = {element: pseudo.md5 for element, pseudo in pseudos.items() if element in atomic_numbers}
    for (group,) in orm.QueryBuilder().append(orm.Group, filters={'type_string': {'like': 'pseudo.family%'}}).iterall():
        if not isinstance(group, RecommendedCutoffMixin):
            continue
        members = {node.element: node.md5 for node in group.nodes}
        if all(members.get(element) == md5 for element, md5 in md5s.items()) and group.get_cutoff_stringencies():
            found = group.get_recommended_cutoffs(elements=tuple(md5s), unit='Ry')
            return float(found[0]), float(found[1])
    return None


def describe_theory(
    parameters: Mapping[str, Any], pseudos: Mapping[str, str], kpoints: str, version: str
) -> dict[str, Any]:
    """Return what a label is an answer of: labels of equal theories are comparable.

    parameters: the namelists of the run that converged; pseudos: md5 by kind; version: of ``pw.x``. What a run's size
    or path decides (number of bands, mixing, diagonaliser, starting spins) is no part of it; any other key of
    ``SYSTEM`` that a user sets is.
    """
    system = parameters['SYSTEM']
    extra = {key: value for key, value in sorted(system.items()) if key not in (*STATED, *NOT_THEORY)}
    return {
        'kind': 'dft',
        'code': f'pw.x {version}',
        'pseudos': {kind: pseudos[kind] for kind in sorted(pseudos)},
        'ecutwfc_Ry': system['ecutwfc'],
        'ecutrho_Ry': system['ecutrho'],
        'smearing': system.get('smearing'),
        'degauss_Ry': system.get('degauss'),
        'kpoints': kpoints,
        'nspin': system.get('nspin', 1),
        **({'system': extra} if extra else {}),
    }


def kpoint_mesh(atoms: Atoms, distance: float) -> tuple[int, int, int]:
    """Return the Γ-centred mesh whose points are at most ``distance`` (1/Å, with 2π) apart; 1 where not periodic."""
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal()[:], axis=1)
    counts = np.maximum(np.ceil(np.round(lengths / distance, 5)), 1)
    first, second, third = np.where(atoms.pbc, counts, 1).astype(int).tolist()
    return first, second, third


def describe_kpoints(is_periodic: bool, distance: float) -> str:
    """Return what the k-points of a frame are called: Γ for a cluster, else the distance."""
    return f'{distance} 1/A' if is_periodic else GAMMA


def pw_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return scheduler options with one thread a process, unless ``options`` says otherwise."""
    return merge({'environment_variables': ONE_THREAD}, options)


def stop_in_time(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``parameters`` with a clean stop of ``pw.x`` shortly before the scheduler's wall-time limit."""
    limit = options.get('max_wallclock_seconds')
    stop = {} if limit is None else {'max_seconds': WALL_FRACTION * limit}
    return merge({'CONTROL': stop}, parameters)
