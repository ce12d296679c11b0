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
    density: float = 1.0,
    on_piece: Callable[[Piece], Sample] = run_piece,
) -> Sample:
    """Return the pool of all prototypes: the relaxed lattices and what each recipe makes of them.

    Counts of ``config`` are for all prototypes together and are multiplied by ``density``. Every generator on every
    prototype has its own spawned stream, so the pool depends on ``rng`` only, not on what was resumed. Raises
    ``ValueError`` when no prototype is sane for the calculator.
    """
    screen = Screen(
        calculator=calculator,
        min_distance_fraction=config.min_distance_fraction,
        max_force_eV_per_A=config.max_force_eV_per_A,
    )
    n_planned = len(planned_pieces(Bench(config, screen, structures), np.random.default_rng(0), density))
    relaxation = Piece(
        name='prototypes', index=0, total=1 + n_planned, build=lambda: relax_prototypes(structures, screen)
    )
    samples = [on_piece(relaxation)]
    prototypes = list(samples[0].frames.iter_atoms())
    if not prototypes:
        raise ValueError(f'no prototype is sane for the calculator after relaxation: dropped {samples[0].dropped}')
    pieces = planned_pieces(Bench(config, screen, prototypes), rng, density)
    for index, (name, build) in enumerate(pieces, start=1):
        samples.append(on_piece(Piece(name=name, index=index, total=1 + len(pieces), build=build)))
    return join_samples(samples)


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


def planned_pieces(bench: Bench, rng: Generator, density: float) -> list[tuple[str, Callable[[], Sample]]]:
    """Return name and builder of each piece in a fixed order; ``rng`` gives each recipe, and each job, its stream."""
    pieces = []
    for recipe, stream in zip(RECIPES, rng.spawn(len(RECIPES)), strict=True):
        total = round(getattr(bench.config, recipe.count) * density)
        jobs = recipe.jobs(bench) if total else []
        counts = share(total, len(jobs)) if jobs else []
        for job, count, own in zip(jobs, counts, stream.spawn(len(jobs)), strict=True):
            if count:
                pieces.append((job.name, partial(_build, recipe, job, count, own)))
    return pieces


def _build(recipe: Recipe, job: Job, count: int, rng: Generator) -> Sample:
    kept, dropped = job.make(count, rng)
    return Sample(frames=chunked_frames(kept, recipe.kind, size=recipe.group_size), dropped=dict(dropped))
