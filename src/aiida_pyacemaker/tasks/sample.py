"""Task ``sample``: a pool of structures, surrogates around a halt, or pairs of atoms."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from pydantic import Field

from ..science.config import FinetuneConfig, PoolConfig
from ..science.frames import Frames
from ..science.pools import (
    IcetMissing,
    Piece,
    Sample,
    dimer_scan,
    infer_report,
    make_pool,
    make_surrogates,
    systems_of,
)
from ..science.teacher import load_teacher, teacher_calculator
from .base import Progress, Task, TaskFailure
from .inputs import check_elements, read_frames
from .pieces import join_pieces, reuse_sample


class SampleTask(Task):
    """What to make: prototypes (mode ``pool``) or frames around a halt (``surrogate``) lie in ``structures``.

    A pool needs no structures: prototypes are then made of ``elements``. density multiplies the counts of ``pool``.
    Modes that need no teacher read none.
    """

    mode: Literal['pool', 'surrogate', 'dimers']
    elements: tuple[str, ...] = Field(min_length=1)
    structures: str | None = None
    models: tuple[str, ...] = ()
    dtype: Literal['float32', 'float64'] = 'float64'
    pool: PoolConfig = PoolConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    density: float = Field(1.0, gt=0, allow_inf_nan=False)
    seed: int = 0

    def run(self, progress: Progress) -> dict[str, Any]:
        """Write ``frames.npz``; return how many frames of each kind were made and how many dropped, by reason."""
        tally = Tally()
        names: list[str] = []

        def keep(piece: Piece) -> Sample:
            sample, reused = reuse_sample(piece, progress)
            names.append(piece.name)
            tally.add(piece.kind, sample, reused=reused)
            return sample

        self._make(keep)
        if not tally.n_frames:
            lost = dict(tally.dropped)
            raise TaskFailure('NOTHING_LEFT', f'mode {self.mode}: every frame was absurd: dropped {lost}')
        join_pieces(names, 'frames.npz')
        report = {'mode': self.mode, **tally.report(), 'density': self.density, 'seed': self.seed}
        if self.mode == 'pool':
            report['inferred'] = infer_report(self.pool, tally.facts, self.elements)
        return {**report, 'peak_memory_MiB': peak_memory_MiB()}

    def _make(self, keep: Callable[[Piece], Sample]) -> None:
        """Make every piece and hand it to ``keep``."""
        if self.mode == 'dimers':
            keep(Piece(name='dimers', kind='dimer', index=0, total=1, build=self._dimers))
            return
        structures, calculator = self._read()
        rng = np.random.default_rng(self.seed)
        if self.mode == 'surrogate':
            make_surrogates(structures, self.finetune, calculator=calculator, rng=rng, on_piece=keep)
            return
        given, settings = list(structures.iter_atoms()), self.pool.times(self.density)
        try:
            for _ in make_pool(given, settings, calculator=calculator, rng=rng, elements=self.elements, on_piece=keep):
                pass
        except IcetMissing as error:
            raise TaskFailure('INVALID_INPUT', str(error)) from error
        except ValueError as error:
            raise TaskFailure('NOTHING_LEFT', str(error)) from error

    def _dimers(self) -> Sample:
        return Sample(frames=dimer_scan(self.elements, count=self.pool.n_dimers))

    def _read(self) -> tuple[Frames, Calculator]:
        largest = self.pool.largest_subsystem(structures_given=self.structures is not None)
        from_elements = self.mode == 'pool' and largest > 0
        if not self.models or (self.structures is None and not from_elements):
            raise TaskFailure(
                'INVALID_INPUT',
                f'mode {self.mode} needs structures (or pool.subsystems above 0) and models, found none of one',
            )
        structures = read_frames(self.structures) if self.structures else Frames.from_atoms([])
        check_elements(structures, self.elements, 'elements')
        # surrogates are labelled by the whole committee afterwards: one member is enough to move them
        models = self.models[:1] if self.mode == 'surrogate' else self.models
        teacher = load_teacher([Path(model) for model in models], dtype=self.dtype)
        check_elements(structures, teacher.elements, 'the teacher')
        unknown = sorted(set(self.elements) - set(teacher.elements)) if from_elements else []
        if unknown:
            raise TaskFailure(
                'UNKNOWN_ELEMENT', f'the teacher does not know {", ".join(unknown)}, asked for by elements'
            )
        return structures, teacher_calculator(teacher)


@dataclass
class Tally:
    """What the pieces held, counted as they pass."""

    n_frames: int = 0
    n_atoms: int = 0
    n_pieces: int = 0
    n_pieces_reused: int = 0
    n_frames_reused: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    systems: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_by_generator: dict[str, Counter[str]] = field(default_factory=dict)
    facts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, sample: Sample, *, reused: bool) -> None:
        """Count one piece, which a killed run may have left."""
        self.n_pieces += 1
        self.n_frames_reused += len(sample.frames) * reused
        self.n_pieces_reused += reused
        self.n_frames += len(sample.frames)
        self.n_atoms += sample.frames.n_atoms
        self.counts.update(sample.frames.config_type.tolist())
        self.systems.update(systems_of(sample.frames))
        self.dropped.update(sample.dropped)
        self.dropped_by_generator.setdefault(kind, Counter()).update(sample.dropped)
        self.facts += sample.facts

    def report(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        lost = {kind: dict(sorted(reasons.items())) for kind, reasons in self.dropped_by_generator.items() if reasons}
        return {
            'n_frames': self.n_frames,
            'n_atoms': self.n_atoms,
            'n_pieces': self.n_pieces,
            'n_pieces_reused': self.n_pieces_reused,
            'n_frames_reused': self.n_frames_reused,
            'counts': dict(sorted(self.counts.items())),
            'systems': dict(sorted(self.systems.items())),
            'dropped': dict(sorted(self.dropped.items())),
            'dropped_by_generator': lost,
            'n_dropped': sum(self.dropped.values()),
        }


def peak_memory_MiB() -> float:
    """Return the largest resident set of this process so far."""
    unit = 1024**2 if sys.platform == 'darwin' else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


TASK = SampleTask
