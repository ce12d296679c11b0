"""Task ``sample``: a pool of structures, surrogates around a halt, or pairs of atoms."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from pydantic import Field

from ..science.config import FinetuneConfig, PoolConfig
from ..science.frames import Frames
from ..science.pools import Sample, count_systems, dimer_scan, make_pool, make_surrogates
from ..science.teacher import load_teacher, teacher_calculator
from .base import Progress, Task, TaskFailure
from .inputs import check_elements, read_frames
from .pieces import reuse_sample


class SampleTask(Task):
    """What to make: prototypes (mode ``pool``) or frames around a halt (``surrogate``) lie in ``structures``.

    density multiplies the counts of ``pool``. Modes that need no teacher read none.
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
        sample = self._sample(progress)
        if len(sample.frames) == 0:
            raise TaskFailure('NOTHING_LEFT', f'mode {self.mode}: every frame was absurd: dropped {sample.dropped}')
        sample.frames.save('frames.npz')
        kinds = Counter(sample.frames.config_type.tolist())
        return {
            'mode': self.mode,
            'n_frames': len(sample.frames),
            'n_atoms': sample.frames.n_atoms,
            'counts': dict(sorted(kinds.items())),
            'systems': count_systems(sample.frames),
            'dropped': sample.dropped,
            'n_dropped': sum(sample.dropped.values()),
            'density': self.density,
            'seed': self.seed,
        }

    def _sample(self, progress: Progress) -> Sample:
        if self.mode == 'dimers':
            return Sample(frames=dimer_scan(self.elements, count=self.pool.n_dimers))
        structures, calculator = self._read()
        rng = np.random.default_rng(self.seed)
        on_piece = partial(reuse_sample, progress=progress)
        if self.mode == 'surrogate':
            return make_surrogates(structures, self.finetune, calculator=calculator, rng=rng, on_piece=on_piece)
        prototypes = list(structures.iter_atoms())
        settings = self.pool.times(self.density)
        elements = self.elements
        try:
            return make_pool(prototypes, settings, calculator=calculator, rng=rng, elements=elements, on_piece=on_piece)
        except ValueError as error:
            raise TaskFailure('NOTHING_LEFT', str(error)) from error

    def _read(self) -> tuple[Frames, Calculator]:
        from_elements = self.mode == 'pool' and self.pool.subsystems > 0
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


TASK = SampleTask
