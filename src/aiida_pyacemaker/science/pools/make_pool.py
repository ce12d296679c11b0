"""The pool of one system: every generator on every prototype, screened, in pieces that can be resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.random import Generator

from ..config import PoolConfig
from ..frames import Frames, concatenate_frames
from .lattice import relax_structure
from .recipes import GROUP_SIZE, RECIPES, Bench, Job, Recipe
from .screening import Sample, Screen
from .subsystems import relaxed_crystals, subsystems_of, unrelaxed_crystals

PROTOTYPE = 'prototype'
CRYSTAL_FMAX = 0.05  # eV/Å, of structure types: their volume is at its minimum already, only sites still move


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One part of the work, the same whenever it is built: ``index`` of ``total``, frames of one ``kind``."""

    name: str
    kind: str
    index: int
    total: int
    build: Callable[[], Sample]


def run_piece(piece: Piece) -> Sample:
    """Build the piece here and now; a task passes its own, which reuses what lies on disk."""
    return piece.build()


def make_pool(
    structures: Sequence[Atoms],
    config: PoolConfig,
    *,
    calculator: Calculator,
    rng: Generator,
    elements: Sequence[str] = (),
    on_piece: Callable[[Piece], Sample] = run_piece,
) -> Iterator[Sample]:
    """Yield the pool of all prototypes piece by piece: the relaxed lattices, then what each recipe makes of them.

    Prototypes are ``structures``, and the structure types of the subsystems of ``elements``, see
    :meth:`.PoolConfig.largest_subsystem`. Counts of ``config`` are for all prototypes together. Every generator on
    every prototype has its own spawned stream, so the pool depends on ``rng`` only, not on what was resumed. No piece
    is held once it was yielded: :func:`join_samples` is for small pools. Raises ``ValueError`` when no prototype is
    sane for the calculator.
    """
    screen = Screen(
        calculator=calculator,
        min_distance_fraction=config.min_distance_fraction,
        max_force_eV_per_A=config.max_force_eV_per_A,
        check_forces=config.check_forces,
    )
    systems = subsystems_of(elements, largest=config.largest_subsystem(structures_given=bool(structures)))
    relaxations = planned_relaxations(structures, systems, config, screen)
    unrelaxed = [*structures, *unrelaxed_crystals(systems, config)]
    mixed = systems or [tuple(sorted(set(elements)))]
    total = len(relaxations) + len(planned_pieces(Bench(config, screen, unrelaxed, mixed), np.random.default_rng(0)))
    prototypes, dropped = [], Counter[str]()
    for index, (name, build) in enumerate(relaxations):
        sample = on_piece(Piece(name=name, kind=PROTOTYPE, index=index, total=total, build=build))
        prototypes += list(sample.frames.iter_atoms())
        dropped.update(sample.dropped)
        yield sample
    if not prototypes:
        raise ValueError(f'no prototype is sane for the calculator after relaxation: dropped {dict(dropped)}')
    pieces = planned_pieces(Bench(config, screen, prototypes, mixed), rng)
    total = len(relaxations) + len(pieces)
    for index, (name, kind, build) in enumerate(pieces, start=len(relaxations)):
        yield on_piece(Piece(name=name, kind=kind, index=index, total=total, build=build))


def planned_relaxations(
    structures: Sequence[Atoms], systems: Sequence[Sequence[str]], config: PoolConfig, screen: Screen
) -> list[tuple[str, Callable[[], Sample]]]:
    """Return name and builder of the pieces that hold the relaxed prototypes: those given, then one a subsystem."""
    pieces: list[tuple[str, Callable[[], Sample]]] = []
    if structures:
        pieces.append(('prototypes', partial(relax_prototypes, structures, screen)))
    for subsystem in systems:
        pieces.append((f'prototypes_{"-".join(subsystem)}', partial(_crystals, subsystem, config, screen)))
    return pieces


def _crystals(subsystem: Sequence[str], config: PoolConfig, screen: Screen) -> Sample:
    at_best_volume, dropped = relaxed_crystals(subsystem, config, screen)
    sample = relax_prototypes(at_best_volume, screen, fmax=CRYSTAL_FMAX)
    return replace(sample, dropped=dict(Counter(dropped) + Counter(sample.dropped)))


def relax_prototypes(structures: Sequence[Atoms], screen: Screen, *, fmax: float = 0.01) -> Sample:
    """Return the prototypes relaxed isotropically to ``fmax`` (eV/Å), each its own group, and what is known of them.

    They are held against the force limit whatever ``check_forces`` says: all else is made of them.
    """
    judge = replace(screen, check_forces=True)
    kept, dropped = judge.keep(relax_structure(atoms, screen.calculator, fmax=fmax)[0] for atoms in structures)
    facts = tuple(describe_prototype(atoms, screen.calculator) for atoms in kept)
    return Sample(frames=chunked_frames(kept, PROTOTYPE, size=1), dropped=dict(dropped), facts=facts)


def describe_prototype(atoms: Atoms, calculator: Calculator) -> dict[str, Any]:
    """Return formula, structure type ('' for one that was given), energy (eV) and volume (Å³) an atom, cell lengths."""
    tested = atoms.copy()
    tested.calc = calculator
    crystal = bool(atoms.pbc.all())
    return {
        'formula': atoms.symbols.formula.reduce()[0].format('hill'),
        'structure_type': atoms.info.get('structure_type', ''),
        'energy_eV_per_atom': float(tested.get_potential_energy()) / len(atoms),
        'volume_A3_per_atom': float(atoms.get_volume()) / len(atoms) if crystal else None,
        'lengths_A': [round(float(length), 5) for length in atoms.cell.lengths()] if crystal else None,
    }


def share(total: int, parts: int) -> list[int]:
    """Return ``parts`` integers that differ by at most one and sum to ``total``, larger ones first."""
    return [total // parts + (index < total % parts) for index in range(parts)]


def chunked_frames(structures: Sequence[Atoms], config_type: str, *, size: int = GROUP_SIZE) -> Frames:
    """Return frames of one generator and parent; each run of ``size`` consecutive ones is a group."""
    groups = np.arange(len(structures)) // size
    return Frames.from_atoms(structures, config_type=[config_type] * len(structures), group=groups)


def join_samples(samples: Iterable[Sample]) -> Sample:
    """Return all frames in order with groups renumbered so that none is shared, and the summed drop counts."""
    parts, dropped, next_group = [], Counter[str](), 0
    for sample in samples:
        parts.append(sample.frames.with_columns(group=sample.frames.group + next_group))
        next_group = max([next_group, *(parts[-1].group + 1)])
        dropped.update(sample.dropped)
    return Sample(frames=concatenate_frames(parts), dropped=dict(sorted(dropped.items())))


def planned_pieces(bench: Bench, rng: Generator) -> list[tuple[str, str, Callable[[], Sample]]]:
    """Return name, kind and builder of each piece in a fixed order; ``rng`` gives each recipe and job its stream."""
    pieces: list[tuple[str, str, Callable[[], Sample]]] = []
    for recipe, stream in zip(RECIPES, rng.spawn(len(RECIPES)), strict=True):
        total = getattr(bench.config, recipe.count)
        jobs = recipe.jobs(bench) if total else []
        counts = share(total, len(jobs)) if jobs else []
        for job, count, own in zip(jobs, counts, stream.spawn(len(jobs)), strict=True):
            pieces += [(name, recipe.kind, build) for name, build in _parts(recipe, job, count, own)]
    return pieces


def _parts(recipe: Recipe, job: Job, count: int, rng: Generator) -> Iterator[tuple[str, Callable[[], Sample]]]:
    """Yield name and builder of a job's pieces: one, or as many trajectories as its frames need."""
    if not count:
        return
    n_runs = -(-count // recipe.run) if recipe.run else 1
    streams = rng.spawn(n_runs) if n_runs > 1 else [rng]
    for number, (part, own) in enumerate(zip(share(count, n_runs), streams, strict=True)):
        yield job.name if n_runs == 1 else f'{job.name}_{number}', partial(_build, recipe, job, part, own)


def _build(recipe: Recipe, job: Job, count: int, rng: Generator) -> Sample:
    kept, dropped = job.make(count, rng)
    size = recipe.run or recipe.group_size
    return Sample(frames=chunked_frames(kept, recipe.kind, size=size), dropped=dict(dropped))
