"""The root: four phases, walkers side by side, one queue of labels and one lineage of potentials."""

from .learning import LearningWorkChain
from .root import HierarchicalDistillationWorkChain

__all__ = ['HierarchicalDistillationWorkChain', 'LearningWorkChain']
