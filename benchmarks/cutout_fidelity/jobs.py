"""What the fidelity benchmark computes: parents with their theory, and the cutouts made from each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.io import read
from numpy.typing import NDArray
from scf import Theory, make_theory

from aiida_pyacemaker.science.config import CutoutConfig
from aiida_pyacemaker.science.cutout.acceptance import describe_label_geometry
from aiida_pyacemaker.science.cutout.label_geometry import CutRequest, LabelGeometry
from aiida_pyacemaker.science.cutout.policies import POLICIES, covalent, metal
from aiida_pyacemaker.science.cutout.policies.translations import Translations, find_translations
from aiida_pyacemaker.science.cutout.relaxation import CAP_FREEDOM, relax_boundary
from aiida_pyacemaker.science.cutout.theory import LabelTheory
from aiida_pyacemaker.science.frames import SHELL_CAP
from aiida_pyacemaker.science.images import FrameIndex, index_frame

HERE = Path(__file__).resolve().parent
TEACHERS = HERE.parents[1] / 'examples' / 'silicon' / 'teachers'
LEAST_EDGE_A = 23.0  # of the replicated cell: no core wraps it
UNLIMITED = 400
CONVERGED = {'conv_thr_per_atom': 5e-9}  # a quarter of the factory's: what is left is cutting


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A small periodic cell: its theory and the shift of its k-point mesh.

    boxes: the theory of periodic boxes cut from it, where the parent's mesh is finer than they can afford.
    """

    theory: Theory
    shift: tuple[int, int, int]
    boxes: Theory | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cutout: where, how large, how closed.

    cap_scale: factor on the bond from host to cap; nspin: see ``run_scf``; all_caps: nothing is done to make
    the number of electrons even.
    """

    parent: str
    atom: int
    label: str
    config: dict[str, Any] = field(default_factory=dict)
    cap_scale: float = 1.0
    nspin: str = 'auto'
    all_caps: bool = False

    @property
    def name(self) -> str:
        """The name of the piece."""
        return f'{self.parent}_{self.atom}_{self.label}'

    @property
    def settings(self) -> CutoutConfig:
        """The settings of the cutout."""
        return CutoutConfig(**{'policy': 'covalent', **self.config})

    def describe(self) -> dict[str, Any]:
        """Return the job as plain values."""
        return {**asdict(self), 'name': self.name}


SILICON = make_theory({'Si': 'Si.pz-vbc.UPF', 'H': 'H.pz-vbc.UPF'}, (16.0, 64.0), kpoints_distance=0.3, **CONVERGED)
# the factory's own threshold
LOOSE_SILICON = make_theory(SILICON.pseudos, SILICON.cutoffs_Ry, kpoints_distance=0.3)
ALUMINIUM = make_theory({'Al': 'Al.pz-vbc.UPF'}, (16.0, 64.0), kpoints_distance=0.2, **CONVERGED)
ALUMINIUM_BOXES = make_theory(ALUMINIUM.pseudos, ALUMINIUM.cutoffs_Ry, kpoints_distance=0.35, **CONVERGED)
MAGNESIA = make_theory(
    {'Mg': 'Mg.pz-n-vbc.UPF', 'O': 'O.pz-rrkjus.UPF'}, (28.0, 224.0), kpoints_distance=0.4, **CONVERGED
)
MAGNESIA_BOXES = make_theory(MAGNESIA.pseudos, MAGNESIA.cutoffs_Ry, kpoints_distance=0.6, **CONVERGED)
# insulating: four points of the cell of 6.8 Å
SILANE = make_theory(SILICON.pseudos, SILICON.cutoffs_Ry, kpoints_distance=0.6, **CONVERGED)

SIZES = {
    'core0_buffer1': {'core_radius': 0.0, 'buffer_radius': 1.0},
    'core0_buffer3': {'core_radius': 0.0, 'buffer_radius': 3.0},
    'core0_buffer4': {'core_radius': 0.0, 'buffer_radius': 4.0, 'max_label_atoms': UNLIMITED},
    'core4_buffer1': {'core_radius': 4.0, 'buffer_radius': 1.0, 'max_label_atoms': UNLIMITED},
    'core4_buffer3': {'core_radius': 4.0, 'buffer_radius': 3.0, 'max_label_atoms': 130},
}
WHOLE = {'core_radius': 4.0, 'buffer_radius': 3.0, 'max_label_atoms': UNLIMITED}
PLACED = {'enable_pre_relaxation': False}

# atoms with 6, 5, 4 neighbours in the vacancy's cell, with 3, 6, 4 in the amorphous one
SILICON_EPICENTRES = {'si63_vacancy': (44, 0, 20), 'si64_amorphous': (5, 26, 3)}
# odd numbers of electrons as they are: next to a dangling bond
RADICALS: dict[str, tuple[int, ...]] = {'si63_rattled': (1, 11, 26), 'si63_vacancy': ()}
BOXES = {'al33_interstitial': 'metal', 'mgo14_divacancy': 'ionic'}
# half of the dumbbell, an atom of the crystal; an atom beside the divacancy
BOX_EPICENTRES = {'al33_interstitial': (32, 20), 'mgo14_divacancy': (5,)}
BOX_SIZES = {
    'al33_interstitial': ((0.0, 0.25), (0.0, 1.0), (0.0, 2.0)),
    'mgo14_divacancy': ((0.0, 0.25), (0.0, 1.0), (0.0, 2.0)),
}
LARGE_BOX = (4.0, 0.25)
ODD_EPICENTRES = {'si63_vacancy': (1, 2), 'si64_amorphous': (4, 14, 43)}  # all caps there leave an odd electron

ALUMINIUM_CELL = Parent(theory=ALUMINIUM, shift=(1, 1, 1), boxes=ALUMINIUM_BOXES)
PARENTS = {
    'si63_vacancy': Parent(theory=SILICON, shift=(1, 1, 1)),
    'si63_rattled': Parent(theory=LOOSE_SILICON, shift=(1, 1, 1)),
    'si64_amorphous': Parent(theory=SILICON, shift=(1, 1, 1)),
    'silane4': Parent(theory=SILANE, shift=(1, 1, 1)),
    'al33_interstitial': ALUMINIUM_CELL,
    'mgo14_divacancy': Parent(theory=MAGNESIA, shift=(1, 1, 1), boxes=MAGNESIA_BOXES),
    # how much of a box's error is its k-points: the parents' own forces with the mesh of boxes
    'al33_interstitial_coarse': Parent(theory=ALUMINIUM_BOXES, shift=(0, 0, 0)),
    'mgo14_divacancy_coarse': Parent(theory=MAGNESIA_BOXES, shift=(0, 0, 0)),
}


@cache
def read_parent(name: str) -> Atoms:
    """Return the primitive cell of a parent."""
    return read(HERE / 'parents' / f'{name.removesuffix("_coarse")}.xyz')


@cache
def teacher_of(parent: str) -> Calculator | None:
    """Return what relaxes the boundary: the example's committee for silicon, EMT for aluminium, nothing for others."""
    if parent.startswith('al'):
        return EMT()
    if not parent.startswith('si6'):
        return None
    from aiida_pyacemaker.science.teacher import load_teacher, teacher_calculator

    return teacher_calculator(load_teacher(sorted(TEACHERS.glob('*.model'))))


def replicate(cell: Atoms) -> FrameIndex:
    """Return the frame that cutouts are cut from: so many cells that no core wraps it."""
    return index_frame(cell.repeat(np.ceil(LEAST_EDGE_A / cell.cell.lengths()).astype(int)))


def cut(job: Job) -> LabelGeometry:
    """Return the label geometry of a job, cut from the replicated parent and relaxed as the settings say."""
    return cut_from(read_parent(job.parent), job)


def cut_from(cell: Atoms, job: Job) -> LabelGeometry:
    """Return the label geometry of a job, cut from another cell than its parent's."""
    parent, frame = PARENTS[job.parent], replicate(cell)
    settings = job.settings
    chosen = parent.boxes or parent.theory
    theory = LabelTheory(valence=chosen.valence, kpoints_distance=chosen.dft.kpoints_distance)
    request = CutRequest(frame=frame, epicentre=job.atom, config=settings, theory=theory)
    foreign = partial(foreign_translations, cell=cell.cell[:])
    even = patch.object(covalent, 'make_even', leave_odd) if job.all_caps else nullcontext()
    with even, patch.object(metal, 'find_translations', foreign):
        geometry = POLICIES[settings.policy](request)
    atoms = geometry.atoms.copy()
    teacher = teacher_of(job.parent)
    if settings.enable_pre_relaxation and teacher is not None:
        atoms.positions = relax_boundary(geometry, teacher, settings).positions
    if job.cap_scale != 1.0:
        atoms.positions = scale_caps(atoms, geometry.shell, job.cap_scale)
    report = {**describe_label_geometry(geometry, theory), **geometry.report}
    return replace(geometry, atoms=atoms, report=report)


def foreign_translations(*arguments: Any, cell: NDArray[np.float64], **limits: float) -> Translations:
    """Return the translations without those of the parent: a box of these would be the parent, and no error found."""
    found = find_translations(*arguments, **limits)
    places = found.vectors @ np.linalg.inv(cell)
    foreign = np.abs(places - np.round(places)).max(axis=1) > metal.OWN_TRANSLATION
    return Translations(vectors=found.vectors[foreign], matches=found.matches[foreign])


def leave_odd(near: Any, cluster: Any, config: CutoutConfig, **_: Any) -> Any:
    """Return ``cluster`` as it is, however many electrons it has."""
    return cluster


def scale_caps(atoms: Atoms, shell: NDArray[np.int8], factor: float) -> NDArray[np.float64]:
    """Return positions (n, 3) Å with every cap ``factor`` times as far from its host, the nearest atom that is none."""
    positions = atoms.positions.copy()
    caps, others = np.flatnonzero(shell == SHELL_CAP), np.flatnonzero(shell != SHELL_CAP)
    hosts = others[np.linalg.norm(positions[caps][:, None] - positions[others], axis=2).argmin(axis=1)]
    positions[caps] = positions[hosts] + factor * (positions[caps] - positions[hosts])
    return positions


def make_jobs() -> Iterator[Job]:
    """Yield all cutouts, those that say most for their cost first."""
    yield from silane()
    amorphous = SILICON_EPICENTRES['si64_amorphous']
    for atom in amorphous:
        yield from silicon_sizes('si64_amorphous', atom, ('core0_buffer1', 'core0_buffer3', 'core0_buffer4'))
    for parent, sizes in BOX_SIZES.items():
        yield from boxes(parent, BOX_EPICENTRES[parent], sizes)
    yield from silicon_sizes('si64_amorphous', amorphous[0], ('core4_buffer1', 'core4_buffer3'))
    yield from silicon_sizes('si63_rattled', 31, ('core0_buffer1', 'core4_buffer1', 'core0_buffer3'), PLACED)
    yield Job(parent='si63_rattled', atom=31, label='core4_buffer3_all', config={**WHOLE, **PLACED})
    yield from boxes('al33_interstitial', BOX_EPICENTRES['al33_interstitial'][:1], [LARGE_BOX])
    yield from smallest('si63_rattled')
    yield from smallest('si63_vacancy')
    yield from silicon_spins('si63_vacancy', 1)
    for parent in ('si63_rattled', 'si63_vacancy', 'si64_amorphous'):
        yield from relaxations(parent, range(2, 63, 6), 'core0_buffer1')
    for parent, atoms in {**SILICON_EPICENTRES, 'si63_rattled': (31, 2, 14)}.items():
        yield from relaxations(parent, atoms, 'core0_buffer3')
    for parent, atoms in SILICON_EPICENTRES.items():
        yield from silicon_sizes(parent, atoms[0], ('core0_buffer1', 'core0_buffer3', 'core4_buffer3'))
        yield from silicon_caps(parent, atoms[0])
        for atom in ODD_EPICENTRES[parent]:
            yield from silicon_spins(parent, atom)
    for parent, atoms in SILICON_EPICENTRES.items():
        default = SIZES['core4_buffer3']
        for label, change in (('placed', PLACED), ('relaxed', {'relax_buffer': True})):
            yield Job(parent=parent, atom=atoms[0], label=f'core4_buffer3_{label}', config={**default, **change})
        for atom in atoms:
            yield from silicon_sizes(parent, atom, SIZES)
        yield Job(parent=parent, atom=atoms[0], label='core4_buffer3_all', config=WHOLE)


def relaxations(parent: str, atoms: Iterable[int], size: str) -> Iterator[Job]:
    """Yield cutouts with caps as placed, as the teacher moves them, and as it does when they may go 1 Å."""
    for atom in atoms:
        for way, change in {'_placed': PLACED, '': {}, '_free': {'max_displacement': 1.0 / CAP_FREEDOM}}.items():
            yield Job(parent=parent, atom=atom, label=f'{size}{way}', config={**SIZES[size], **change})


def smallest(parent: str) -> Iterator[Job]:
    """Yield clusters of one atom and its neighbours about many atoms, with other caps, vacuum and spins about some."""
    small = {**SIZES['core0_buffer1'], **PLACED}
    for atom in range(2, 63, 6):
        yield Job(parent=parent, atom=atom, label='core0_buffer1_placed', config=small)
    for atom in range(2, 63, 18):
        same = {'parent': parent, 'atom': atom}
        for scale in (0.95, 1.05, 1.10):
            yield Job(**same, label=f'core0_buffer1_caps{100 * scale:.0f}', config=small, cap_scale=scale)
        for vacuum in (4.0, 9.0, 12.0):
            yield Job(**same, label=f'core0_buffer1_vacuum{vacuum:.0f}', config={**small, 'vacuum': vacuum})
        yield Job(**same, label='core0_buffer1', config=SIZES['core0_buffer1'])
    for atom in RADICALS[parent]:
        same = {'parent': parent, 'atom': atom, 'config': small}
        yield Job(**same, label='core0_buffer1_placed')
        yield Job(**same, label='core0_buffer1_odd2', all_caps=True)
        yield Job(**same, label='core0_buffer1_odd1', all_caps=True, nspin='one')


def silicon_sizes(
    parent: str, atom: int, labels: Iterable[str], change: Mapping[str, Any] | None = None
) -> Iterator[Job]:
    """Yield cutouts of several sizes."""
    for label in labels:
        name = f'{label}_placed' if change else label
        yield Job(parent=parent, atom=atom, label=name, config={**SIZES[label], **(change or {})})


def silicon_caps(parent: str, atom: int) -> Iterator[Job]:
    """Yield a cutout with caps as placed, shorter and longer, with less and more vacuum, with its buffer relaxed."""
    small = SIZES['core0_buffer3']
    same = {'parent': parent, 'atom': atom}
    yield Job(**same, label='core0_buffer3_placed', config={**small, **PLACED})
    for scale in (0.95, 1.05, 1.10):
        label = f'core0_buffer3_caps{100 * scale:.0f}'
        yield Job(**same, label=label, config={**small, **PLACED}, cap_scale=scale)
    yield Job(**same, label='core0_buffer3_relaxed', config={**small, 'relax_buffer': True})
    for vacuum in (4.0, 9.0):
        yield Job(**same, label=f'core0_buffer3_vacuum{vacuum:.0f}', config={**small, 'vacuum': vacuum})


def silicon_spins(parent: str, atom: int) -> Iterator[Job]:
    """Yield a cutout that was made even (the default), the same left odd, with two spins and with one."""
    same = {'parent': parent, 'atom': atom, 'config': SIZES['core0_buffer3']}
    yield Job(**same, label='core0_buffer3_even')
    yield Job(**same, label='core0_buffer3_odd2', all_caps=True)
    yield Job(**same, label='core0_buffer3_odd1', all_caps=True, nspin='one')


def silane() -> Iterator[Job]:
    """Yield cutouts of whole molecules about a silicon and a hydrogen."""
    for atom in (0, 6):
        for core, buffer in ((0.0, 1.0), (0.0, 3.0), (4.0, 1.0)):
            config = {'policy': 'molecular', 'core_radius': core, 'buffer_radius': buffer}
            yield Job(parent='silane4', atom=atom, label=f'core{core:.0f}_buffer{buffer:.0f}', config=config)


def boxes(parent: str, atoms: Iterable[int], sizes: Iterable[tuple[float, float]]) -> Iterator[Job]:
    """Yield periodic boxes of the metal or the oxide; sizes: radii of core and buffer in Å."""
    for core, buffer in sizes:
        for atom in atoms:
            config = {'core_radius': core, 'buffer_radius': buffer, 'max_label_atoms': UNLIMITED}
            label = f'core{core:g}_buffer{buffer:g}'
            yield Job(parent=parent, atom=atom, label=label, config={'policy': BOXES[parent], **config})
