"""From settings and a structure to the input of one static SCF."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida_pseudo.groups.mixins import RecommendedCutoffMixin
from ase import Atoms
from ase.data import atomic_numbers

from ..science.config import DftConfig
from .protocol import merge

RARE_EARTHS = frozenset(range(58, 71))
MAGNETIC = frozenset(('V', 'Cr', 'Mn', 'Fe', 'Co', 'Ni'))
STARTING_MAGNETISATION = 0.4  # of the valence electrons
ONE_THREAD = {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
GAMMA = 'gamma'
# a cluster's levels are discrete: cold smearing has several Fermi levels there and the SCF jumps between them (a hot
# 51-atom cluster: 80 iterations without convergence at mv and 0.7, 10 at gaussian and 0.3)
CLUSTER_SMEARING = 'gaussian'
MIXING_BETA = {'periodic': 0.7, 'cluster': 0.3}
STATED = ('ecutwfc', 'ecutrho', 'smearing', 'degauss', 'nspin')


def scf_parameters(
    atoms: Atoms, dft: DftConfig, cutoffs_Ry: tuple[float, float], overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the namelists of a static SCF with forces, and stress where ``atoms`` is periodic; ``overrides`` win.

    A cluster has gaussian smearing, whatever ``dft.smearing`` says of periodic frames.
    """
    periodic = bool(atoms.pbc.any())
    magnetic = {symbol for symbol in set(atoms.get_chemical_symbols()) if is_magnetic(symbol)}
    system: dict[str, Any] = {
        'ecutwfc': cutoffs_Ry[0],
        'ecutrho': cutoffs_Ry[1],
        'occupations': 'smearing',
        'smearing': dft.smearing if periodic else CLUSTER_SMEARING,
        'degauss': dft.degauss,
    }
    if magnetic:
        system |= {'nspin': 2, 'starting_magnetization': dict.fromkeys(sorted(magnetic), STARTING_MAGNETISATION)}
    parameters = {
        'CONTROL': {
            'calculation': 'scf',
            'tprnfor': True,
            'tstress': periodic,
            'disk_io': 'low',
        },
        'SYSTEM': system,
        'ELECTRONS': {
            'conv_thr': dft.conv_thr_per_atom * len(atoms),
            'mixing_beta': MIXING_BETA['periodic' if periodic else 'cluster'],
            'electron_maxstep': 80,
        },
    }
    return merge(parameters, overrides or {})


def is_magnetic(symbol: str) -> bool:
    """Say whether an element is on the list that is computed with two spins."""
    return symbol in MAGNETIC or atomic_numbers[symbol] in RARE_EARTHS


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
    md5s = {element: pseudo.md5 for element, pseudo in pseudos.items()}
    for (group,) in orm.QueryBuilder().append(orm.Group, filters={'type_string': {'like': 'pseudo.family%'}}).iterall():
        if not isinstance(group, RecommendedCutoffMixin):
            continue
        members = {node.element: node.md5 for node in group.nodes}
        if all(members.get(element) == md5 for element, md5 in md5s.items()) and group.get_cutoff_stringencies():
            found = group.get_recommended_cutoffs(elements=tuple(md5s), unit='Ry')
            return float(found[0]), float(found[1])
    return None


def describe_theory(
    parameters: Mapping[str, Any], pseudos: Mapping[str, Any], kpoints: str, version: str
) -> dict[str, Any]:
    """Return what a label is an answer of: labels of equal theories are comparable.

    parameters: the namelists of the run that converged; version: of ``pw.x``. What a run's size or path decides (number
    of bands, mixing, diagonaliser) is no part of it; any other key of ``SYSTEM`` that a user sets is.
    """
    system = parameters['SYSTEM']
    extra = {key: value for key, value in sorted(system.items()) if key not in (*STATED, 'nbnd', 'occupations')}
    return {
        'kind': 'dft',
        'code': f'pw.x {version}',
        'pseudos': {element: pseudos[element].md5 for element in sorted(pseudos)},
        'ecutwfc_Ry': system['ecutwfc'],
        'ecutrho_Ry': system['ecutrho'],
        'smearing': system.get('smearing'),
        'degauss_Ry': system.get('degauss'),
        'kpoints': kpoints,
        'nspin': system.get('nspin', 1),
        **({'system': extra} if extra else {}),
    }


def kpoint_inputs(atoms: Atoms, dft: DftConfig) -> tuple[dict[str, Any], str]:
    """Return the k-point ports of a ``PwBaseWorkChain`` and what they are called: Γ for a cluster, else a distance."""
    if atoms.pbc.any():
        return {'kpoints_distance': orm.Float(dft.kpoints_distance)}, f'{dft.kpoints_distance} 1/A'
    mesh = orm.KpointsData()
    mesh.set_kpoints_mesh([1, 1, 1])
    return {'kpoints': mesh}, GAMMA


def pw_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return scheduler options with one thread a process, unless ``options`` says otherwise."""
    return merge({'environment_variables': ONE_THREAD}, options)
