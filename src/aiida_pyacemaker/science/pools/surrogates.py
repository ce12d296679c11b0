"""Frames around a halt: rattled copies and short runs of the corrected teacher, to be labelled by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.random import Generator

from ..config import FinetuneConfig
from ..frames import Frames
from ..md.halting import is_physical
from .generators.molecular_dynamics import Schedule, run_langevin
from .generators.rattled import make_rattled
from .make_pool import Piece, chunked_frames, join_samples, run_piece, share
from .screening import Sample, Screen

MAX_RUNS = 2


def make_surrogates(
    frames: Frames,
    config: FinetuneConfig,
    *,
    calculator: Calculator,
    rng: Generator,
    on_piece: Callable[[Piece], Sample] = run_piece,
) -> Sample:
    """Return up to ``config.n_surrogate_frames`` frames around ``frames`` (whole MD frames around a halt).

    Frames after a crash, with atoms on top of each other or nowhere, are no parents. First the parents themselves (a
    sixth of the count at most), then as many rattled copies (``surrogate_amplitude``, Å) as frames of short Langevin
    runs (at most ``MAX_RUNS``, frames ``surrogate_md_steps`` apart) that start from them. All pass the screen of the
    pools.
    """
    if len(frames) == 0:
        raise ValueError('no frames around the halt were given: surrogates need at least one')
    rows = [row for row in range(len(frames)) if is_physical(frames, row)] or list(range(len(frames)))
    n_parents = min(len(rows), max(1, config.n_surrogate_frames // 6))
    chosen = [frames.atoms(row) for row in rows[-n_parents:]]  # in time order the last are those nearest to the halt
    around = _Surroundings(parents=chosen, config=config, screen=Screen(calculator=calculator))
    n_rattled = (config.n_surrogate_frames - n_parents + 1) // 2
    n_md = config.n_surrogate_frames - n_parents - n_rattled
    n_runs = min(MAX_RUNS, n_parents, max(1, n_md))
    rattle_rng, md_rng = rng.spawn(2)
    builds: list[tuple[str, Callable[[], Sample]]] = [
        ('parents', around.make_parents),
        ('rattled', partial(around.make_rattled, n_rattled, rattle_rng)),
    ]
    for index, (count, stream) in enumerate(zip(share(n_md, n_runs), md_rng.spawn(n_runs), strict=True)):
        if count:
            builds.append((f'md_{index}', partial(around.run_md, index, count, stream)))
    total = len(builds)
    pieces = [
        Piece(name=name, kind='surrogate', index=i, total=total, build=build) for i, (name, build) in enumerate(builds)
    ]
    return join_samples([on_piece(piece) for piece in pieces])


@dataclass(frozen=True, kw_only=True)
class _Surroundings:
    """The parents in time order and how frames are made around them."""

    parents: Sequence[Atoms]
    config: FinetuneConfig
    screen: Screen

    def make_parents(self) -> Sample:
        """Return the parents themselves, each its own group."""
        kept, dropped = self.screen.keep(self.parents)
        return Sample(frames=chunked_frames(kept, 'surrogate_parent', size=1), dropped=dict(dropped))

    def make_rattled(self, count: int, rng: Generator) -> Sample:
        """Return ``count`` rattled copies, shared among the parents."""
        amplitudes, copies = (self.config.surrogate_amplitude,), []
        streams = zip(self.parents, share(count, len(self.parents)), rng.spawn(len(self.parents)), strict=True)
        for atoms, n_copies, stream in streams:
            copies += make_rattled(atoms, count=n_copies, amplitudes=amplitudes, strain_max=0.0, rng=stream)
        kept, dropped = self.screen.keep(copies)
        return Sample(frames=chunked_frames(kept, 'surrogate_rattled'), dropped=dict(dropped))

    def run_md(self, index: int, count: int, rng: Generator) -> Sample:
        """Return ``count`` frames of the run that starts from the parent ``index`` before the last."""
        schedule = Schedule(
            temperature_K=self.config.surrogate_md_temperature_K,
            n_frames=count,
            steps_between_frames=self.config.surrogate_md_steps,
            start_factor=1.0,
        )
        kept, dropped = run_langevin(self.parents[-1 - index], schedule, screen=self.screen, rng=rng)
        return Sample(frames=chunked_frames(kept, 'surrogate_md'), dropped=dropped)
