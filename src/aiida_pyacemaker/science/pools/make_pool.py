"""The pool of one system: every generator on every prototype, screened, in pieces that can be resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.random import Generator

from ..config import PoolConfig
from ..frames import Frames, concatenate_frames
from .lattice import most_compact_supercell, relax_structure
from .molecular_dynamics import Schedule, run_langevin
from .rattled import make_rattled
from .screening import Sample, Screen
from .strained import make_strained
from .vacancy import COPIES_PER_SITE, make_vacancies

GROUP_SIZE = 5  # frames drawn one after another share a group, so that a held-out frame has no neighbour in training
RATTLED_STRAIN_FRACTION = 0.25
MIN_VACANCY_HOST = 8  # atoms; in a smaller cell a vacancy is another crystal


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
    """Return the pool of all prototypes: relaxed lattices, strained, rattled, with vacancies, from MD.

    Counts of ``config`` are for all prototypes together and are multiplied by ``density``. Every generator on every
    prototype has its own spawned stream, so the pool depends on ``rng`` only, not on what was resumed. Raises
    ``ValueError`` when no prototype is sane for the calculator.
    """
    screen = Screen(
        calculator=calculator,
        min_distance_fraction=config.min_distance_fraction,
        max_force_eV_per_A=config.max_force_eV_per_A,
    )
    plan = _Plan(config=config, screen=screen, density=density)
    total = 1 + plan.n_pieces(structures)
    relaxation = Piece(name='prototypes', index=0, total=total, build=lambda: relax_prototypes(structures, screen))
    samples = [on_piece(relaxation)]
    prototypes = list(samples[0].frames.iter_atoms())
    if not prototypes:
        raise ValueError(f'no prototype is sane for the calculator after relaxation: dropped {samples[0].dropped}')
    for index, (name, build) in enumerate(plan.builds(prototypes, rng), start=1):
        samples.append(on_piece(Piece(name=name, index=index, total=total, build=build)))
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


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Who makes how many frames of which prototype."""

    config: PoolConfig
    screen: Screen
    density: float

    def n_pieces(self, structures: Sequence[Atoms]) -> int:
        """Return how many pieces :meth:`builds` would yield for these prototypes."""
        return sum(1 for _ in self.builds(structures, np.random.default_rng(0)))

    def builds(self, prototypes: Sequence[Atoms], rng: Generator) -> Iterator[tuple[str, Callable[[], Sample]]]:
        """Yield name and builder of each piece, in a fixed order; ``rng`` gives each generator its streams."""
        strained_rng, rattled_rng, vacancy_rng, md_rng = rng.spawn(4)
        crystals = [index for index, atoms in enumerate(prototypes) if atoms.pbc.all()]
        everything = range(len(prototypes))
        hosts = [index for index in crystals if len(self._supercell(prototypes[index])) >= MIN_VACANCY_HOST]
        runs = [(index, kelvin) for index in everything for kelvin in self.config.md_temperatures_K]
        for index, count, stream in self._streams(self.config.n_strained, crystals, strained_rng):
            yield f'strained_{index}', self._strained(prototypes[index], count, stream)
        for index, count, stream in self._streams(self.config.n_rattled, everything, rattled_rng):
            yield f'rattled_{index}', self._rattled(prototypes[index], count, stream)
        for index, count, stream in self._streams(self.config.n_vacancy, hosts, vacancy_rng):
            yield f'vacancy_{index}', self._vacancies(prototypes[index], count, stream)
        for run, count, stream in self._streams(self.config.n_md_frames, range(len(runs)), md_rng):
            index, kelvin = runs[run]
            yield f'md_{run}_{kelvin:g}K', self._md(prototypes[index], count, stream, kelvin)

    def _streams(self, total: int, members: Sequence[int], rng: Generator) -> list[tuple[int, int, Generator]]:
        if not members:
            return []
        counts = share(round(total * self.density), len(members))
        rows = zip(members, counts, rng.spawn(len(members)), strict=True)
        return [(index, count, stream) for index, count, stream in rows if count]

    def _supercell(self, atoms: Atoms) -> Atoms:
        return most_compact_supercell(atoms, max_atoms=self.config.max_atoms)

    def _screened(self, structures: Sequence[Atoms], config_type: str, size: int = GROUP_SIZE) -> Sample:
        kept, dropped = self.screen.keep(structures)
        return Sample(frames=chunked_frames(kept, config_type, size=size), dropped=dict(dropped))

    def _strained(self, atoms: Atoms, count: int, rng: Generator) -> Callable[[], Sample]:
        strain = self.config.strain_max
        return lambda: self._screened(make_strained(atoms, count=count, strain_max=strain, rng=rng), 'strained')

    def _rattled(self, atoms: Atoms, count: int, rng: Generator) -> Callable[[], Sample]:
        strain = RATTLED_STRAIN_FRACTION * self.config.strain_max
        amplitudes, cell = self.config.rattle_amplitudes, self._supercell(atoms)
        return lambda: self._screened(
            make_rattled(cell, count=count, amplitudes=amplitudes, strain_max=strain, rng=rng), 'rattled'
        )

    def _vacancies(self, atoms: Atoms, count: int, rng: Generator) -> Callable[[], Sample]:
        cell, amplitudes, calculator = self._supercell(atoms), self.config.rattle_amplitudes, self.screen.calculator

        def build() -> Sample:
            frames = make_vacancies(cell, count=count, amplitudes=amplitudes, calculator=calculator, rng=rng)
            return self._screened(frames, 'vacancy', COPIES_PER_SITE)

        return build

    def _md(self, atoms: Atoms, count: int, rng: Generator, kelvin: float) -> Callable[[], Sample]:
        steps = self.config.md_steps_between_frames
        schedule = Schedule(temperature_K=kelvin, n_frames=count, steps_between_frames=steps)

        def build() -> Sample:
            kept, dropped = run_langevin(self._supercell(atoms), schedule, screen=self.screen, rng=rng)
            return Sample(frames=chunked_frames(kept, 'md'), dropped=dropped)

        return build
