"""The pool of one system: every generator on every prototype, screened, in pieces that can be resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

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


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One part of the work, the same whenever it is built: ``index`` of ``total``."""

    name: str
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
) -> Sample:
    """Return the pool of all prototypes: the relaxed lattices and what each recipe makes of them.

    Prototypes are ``structures``, and where ``config.subsystems`` says so the structure types of all subsystems of
    ``elements``. Counts of ``config`` are for all prototypes together. Every generator on every prototype has its own
    spawned stream, so the pool depends on ``rng`` only, not on what was resumed. Raises ``ValueError`` when no
    prototype is sane for the calculator.
    """
    screen = Screen(
        calculator=calculator,
        min_distance_fraction=config.min_distance_fraction,
        max_force_eV_per_A=config.max_force_eV_per_A,
    )
    relaxations = planned_relaxations(structures, elements, config, screen)
    unrelaxed = [*structures, *unrelaxed_crystals(elements, config)]
    total = len(relaxations) + len(planned_pieces(Bench(config, screen, unrelaxed), np.random.default_rng(0)))
    samples = [
        on_piece(Piece(name=name, index=index, total=total, build=build))
        for index, (name, build) in enumerate(relaxations)
    ]
    prototypes = [atoms for sample in samples for atoms in sample.frames.iter_atoms()]
    if not prototypes:
        dropped = join_samples(samples).dropped
        raise ValueError(f'no prototype is sane for the calculator after relaxation: dropped {dropped}')
    pieces = planned_pieces(Bench(config, screen, prototypes), rng)
    total = len(relaxations) + len(pieces)
    for index, (name, build) in enumerate(pieces, start=len(relaxations)):
        samples.append(on_piece(Piece(name=name, index=index, total=total, build=build)))
    return join_samples(samples)


def planned_relaxations(
    structures: Sequence[Atoms], elements: Sequence[str], config: PoolConfig, screen: Screen
) -> list[tuple[str, Callable[[], Sample]]]:
    """Return name and builder of the pieces that hold the relaxed prototypes: those given, then one a subsystem."""
    pieces: list[tuple[str, Callable[[], Sample]]] = []
    if structures:
        pieces.append(('prototypes', partial(relax_prototypes, structures, screen)))
    for subsystem in subsystems_of(elements, largest=config.subsystems):
        pieces.append((f'prototypes_{"-".join(subsystem)}', partial(_crystals, subsystem, config, screen)))
    return pieces


def _crystals(subsystem: Sequence[str], config: PoolConfig, screen: Screen) -> Sample:
    at_best_volume, dropped = relaxed_crystals(subsystem, config, screen)
    sample = relax_prototypes(at_best_volume, screen)
    return Sample(frames=sample.frames, dropped=dict(Counter(dropped) + Counter(sample.dropped)))


def relax_prototypes(structures: Sequence[Atoms], screen: Screen) -> Sample:
    """Return the prototypes relaxed isotropically with the screen's calculator, each its own group."""
    kept, dropped = screen.keep(relax_structure(atoms, screen.calculator)[0] for atoms in structures)
    return Sample(frames=chunked_frames(kept, 'prototype', size=1), dropped=dict(dropped))


def share(total: int, parts: int) -> list[int]:
    """Return ``parts`` integers that differ by at most one and sum to ``total``, larger ones first."""
    return [total // parts + (index < total % parts) for index in range(parts)]


def chunked_frames(structures: Sequence[Atoms], config_type: str, *, size: int = GROUP_SIZE) -> Frames:
    """Return frames of one generator and parent; each run of ``size`` consecutive ones is a group."""
    groups = np.arange(len(structures)) // size
    return Frames.from_atoms(structures, config_type=[config_type] * len(structures), group=groups)


def join_samples(samples: Sequence[Sample]) -> Sample:
    """Return all frames in order with groups renumbered so that none is shared, and the summed drop counts."""
    parts, dropped, next_group = [], Counter[str](), 0
    for sample in samples:
        parts.append(sample.frames.with_columns(group=sample.frames.group + next_group))
        next_group = max([next_group, *(parts[-1].group + 1)])
        dropped.update(sample.dropped)
    return Sample(frames=concatenate_frames(parts), dropped=dict(sorted(dropped.items())))


def planned_pieces(bench: Bench, rng: Generator) -> list[tuple[str, Callable[[], Sample]]]:
    """Return name and builder of each piece in a fixed order; ``rng`` gives each recipe, and each job, its stream."""
    pieces: list[tuple[str, Callable[[], Sample]]] = []
    for recipe, stream in zip(RECIPES, rng.spawn(len(RECIPES)), strict=True):
        total = getattr(bench.config, recipe.count)
        jobs = recipe.jobs(bench) if total else []
        counts = share(total, len(jobs)) if jobs else []
        for job, count, own in zip(jobs, counts, stream.spawn(len(jobs)), strict=True):
            if count:
                pieces.append((job.name, partial(_build, recipe, job, count, own)))
    return pieces


def _build(recipe: Recipe, job: Job, count: int, rng: Generator) -> Sample:
    kept, dropped = job.make(count, rng)
    return Sample(frames=chunked_frames(kept, recipe.kind, size=recipe.group_size), dropped=dict(dropped))
