"""What follows from the inputs of one SCF alone: whether to start it, what it is the answer of, what it costs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from ase import Atoms

from ...science.dft import check_electrons, closest_pair, count_electrons, scf_work
from ...science.frames import Frames, canonical_order
from .scf_inputs import ScfRequest, kpoint_mesh

KEY, WORK = 'label_key', 'scf_work'


def check_structure(inputs: dict[str, Any], _: Any) -> str | None:
    """Refuse what no SCF should be started with: atoms on top of each other, odd electrons under fixed occupations."""
    pw = inputs.get('pw', {})
    if any(name not in pw for name in ('structure', 'pseudos', 'parameters')):
        return None
    structure, pseudos = pw['structure'], pw['pseudos']
    kinds = [site.kind_name for site in structure.sites]
    missing = sorted(set(kinds) - set(pseudos))
    if missing:
        return f'pw.pseudos: none for {", ".join(missing)}; it knows {", ".join(sorted(pseudos))}'
    message = closest_pair(structure.get_ase())
    if message:
        return f'pw.structure: {message}'
    system = pw['parameters'].get_dict().get('SYSTEM', {})
    message = check_electrons(
        _electrons(kinds, pseudos, system),
        n_spins=system.get('nspin', 1),
        fixed_occupations=system.get('occupations', 'fixed') == 'fixed',
        is_capped_cluster=False,
    )
    return f'pw.structure: {message}' if message else None


def label_facts(inputs: Any) -> dict[str, Any]:
    """Return the extras of an SCF: the key of frame and theory, and the relative work."""
    structure, parameters = inputs.pw.structure, inputs.pw.parameters.get_dict()
    atoms, kinds = structure.get_ase(), [site.kind_name for site in structure.sites]
    kpoints = _kpoints(inputs, atoms)
    system = parameters.get('SYSTEM', {})
    n_kpoints = kpoints[0] * kpoints[1] * kpoints[2] if len(kpoints) == 6 else len(kpoints)
    work = scf_work(
        atoms,
        n_electrons=_electrons(kinds, inputs.pw.pseudos, system),
        ecutwfc_Ry=system['ecutwfc'],
        n_kpoints=n_kpoints,
        n_spins=system.get('nspin', 1),
    )
    return {KEY: label_key(atoms, kinds, inputs.pw.pseudos, parameters, kpoints), WORK: work}


def label_key(
    atoms: Atoms,
    kinds: Sequence[str],
    pseudos: Mapping[str, Any],
    parameters: Mapping[str, Any],
    kpoints: Sequence[Any],
) -> str:
    """Return the sha256 of frame and theory: equal keys have equal labels, in whatever order the atoms are given.

    kpoints: mesh and offset, or the points. The theory is every key of ``SYSTEM`` but the number of bands, the
    pseudopotential and the starting spin of every atom, the convergence threshold, and whether stress is asked for.
    The version of the program is none of the inputs and is compared apart.
    """
    order = canonical_order(atoms)
    system = dict(parameters.get('SYSTEM', {}))
    starts = system.pop('starting_magnetization', {})
    system.pop('nbnd', None)
    content = {
        'frame': bytes(Frames.from_atoms([atoms]).fingerprints()[0]).hex(),
        'pseudos': [pseudos[kinds[atom]].md5 for atom in order],
        'starts': [starts.get(kinds[atom], 0.0) for atom in order],
        'system': system,
        'threshold': parameters.get('ELECTRONS', {}).get('conv_thr'),
        'stress': bool(parameters.get('CONTROL', {}).get('tstress', False)),
        'kpoints': list(kpoints),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def request_key(request: ScfRequest) -> str:
    """Return the key of what a frame asks of ``pw.x``."""
    kpoints = [*request.mesh, 0.0, 0.0, 0.0]
    return label_key(request.atoms, request.kinds, request.pseudos, request.parameters, kpoints)


def _electrons(kinds: Sequence[str], pseudos: Mapping[str, Any], system: Mapping[str, Any]) -> float:
    valence = {kind: float(pseudos[kind].z_valence) for kind in set(kinds)}
    return count_electrons(list(kinds), valence, float(system.get('tot_charge', 0.0)))


def _kpoints(inputs: Any, atoms: Atoms) -> list[Any]:
    """Return mesh and offset (6 numbers), or the explicit points."""
    if 'kpoints' not in inputs:
        return [*kpoint_mesh(atoms, inputs.kpoints_distance.value), 0.0, 0.0, 0.0]
    node: orm.KpointsData = inputs.kpoints
    if 'mesh' in node.base.attributes.all:
        mesh, offset = node.get_kpoints_mesh()
        return [*mesh, *offset]
    return [[float(value) for value in point] for point in node.get_kpoints()]
