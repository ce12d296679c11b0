"""Phase 1 as a process of its own."""

from .chain import BLOCK, DistillationWorkChain

__all__ = ['BLOCK', 'DistillationWorkChain']
