"""Frames in batches of so many atoms, smaller ones where memory does not last."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..frames import Frames

Answer = TypeVar('Answer')
# how torch says on a CPU, where it raises a plain RuntimeError, that an allocation failed
CPU_MEMORY_WORDS = ("can't allocate memory", 'not enough memory', 'out of memory')


def end_of_batch(counts: Sequence[int] | NDArray[np.int64], start: int, batch_atoms: int) -> int:
    """Return the end of the batch from ``start``: at most ``batch_atoms`` atoms, but one frame at least."""
    total, stop = int(counts[start]), start + 1
    while stop < len(counts) and total + int(counts[stop]) <= batch_atoms:
        total += int(counts[stop])
        stop += 1
    return stop


def split_batches(counts: Sequence[int], batch_atoms: int) -> Iterator[slice]:
    """Yield consecutive slices of frames of at most ``batch_atoms`` atoms; a larger frame is alone in its own."""
    start = 0
    while start < len(counts):
        stop = end_of_batch(counts, start, batch_atoms)
        yield slice(start, stop)
        start = stop


def ask_in_batches(
    ask: Callable[[Sequence[Atoms]], Answer], frames: Frames, rows: NDArray[np.int64], *, batch_atoms: int
) -> Iterator[tuple[NDArray[np.int64], Answer]]:
    """Yield rows and the answer to them, batch by batch in order; only one batch is held at a time.

    A batch that does not fit into memory is halved, and so are all that follow. Raise ``MemoryError`` naming the frame
    when a single one does not fit.
    """
    counts = np.diff(frames.offsets)[rows]
    start = 0
    while start < len(rows):
        stop = end_of_batch(counts, start, batch_atoms)
        chosen = rows[start:stop]
        try:
            answer = ask([frames.atoms(int(row)) for row in chosen])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            atoms = int(counts[start:stop].sum())
            if len(chosen) == 1:
                raise MemoryError(f'frame {chosen[0]} of {atoms} atoms does not fit into memory ({error})') from error
            batch_atoms = atoms // 2
            free_memory()
            continue
        yield chosen, answer
        start = stop


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory was short, on the CPU or on a GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in CPU_MEMORY_WORDS)


def free_memory() -> None:
    """Give back what a failed batch still holds."""
    gc.collect()
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
