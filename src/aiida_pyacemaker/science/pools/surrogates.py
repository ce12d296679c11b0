"""Frames around a halt: rattled copies and short runs of the corrected teacher, to be labelled by it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ase.calculators.calculator import Calculator
from numpy.random import Generator

from ..config import FinetuneConfig
from ..frames import Frames
from .make_pool import Piece, chunked_frames, join_samples, run_piece, share
from .molecular_dynamics import Schedule, run_langevin
from .rattled import make_rattled
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

    First the frames themselves (a sixth of the count at most), then as many rattled copies
    (``surrogate_amplitude``, Å) as frames of short Langevin runs (at most ``MAX_RUNS``, frames
    ``surrogate_md_steps`` apart) that start from them. All pass the screen of the pools.
    """
    if len(frames) == 0:
        raise ValueError('no frames around the halt were given: surrogates need at least one')
    screen = Screen(calculator=calculator)
    parents = list(frames.iter_atoms())
    n_parents = min(len(parents), max(1, config.n_surrogate_frames // 6))
    n_rattled = (config.n_surrogate_frames - n_parents + 1) // 2
    n_md = config.n_surrogate_frames - n_parents - n_rattled
    rattle_rng, md_rng = rng.spawn(2)
    chosen = parents[-n_parents:]  # in time order the last are those nearest to the halt
    n_runs = min(MAX_RUNS, len(chosen), max(1, n_md))

    def parent_frames() -> Sample:
        kept, dropped = screen.keep(chosen)
        return Sample(frames=chunked_frames(kept, 'surrogate_parent', size=1), dropped=dict(dropped))

    def rattled() -> Sample:
        copies = []
        for atoms, count, stream in zip(chosen, share(n_rattled, n_parents), rattle_rng.spawn(n_parents), strict=True):
            copies += make_rattled(
                atoms, count=count, amplitudes=(config.surrogate_amplitude,), strain_max=0.0, rng=stream
            )
        kept, dropped = screen.keep(copies)
        return Sample(frames=chunked_frames(kept, 'surrogate_rattled'), dropped=dict(dropped))

    def md_run(index: int, count: int, stream: Generator) -> Sample:
        schedule = Schedule(
            temperature_K=config.surrogate_md_temperature_K,
            n_frames=count,
            steps_between_frames=config.surrogate_md_steps,
            start_factor=1.0,
        )
        kept, dropped = run_langevin(chosen[-1 - index], schedule, screen=screen, rng=stream)
        return Sample(frames=chunked_frames(kept, 'surrogate_md'), dropped=dropped)

    builds: list[tuple[str, Callable[[], Sample]]] = [('parents', parent_frames), ('rattled', rattled)]
    for index, (count, stream) in enumerate(zip(share(n_md, n_runs), md_rng.spawn(n_runs), strict=True)):
        if count:
            builds.append((f'md_{index}', partial(md_run, index, count, stream)))
    pieces = [Piece(name=name, index=i, total=len(builds), build=build) for i, (name, build) in enumerate(builds)]
    return join_samples([on_piece(piece) for piece in pieces])
