"""The root: four phases, walkers side by side, one queue of labels and one lineage of potentials."""

from .root import HierarchicalDistillationWorkChain

__all__ = ['HierarchicalDistillationWorkChain']
