"""Which structures are worth a label."""

from .direct import Projection, cluster_rows, project_features, select_direct
from .duplicates import first_occurrences
from .held_out import split_held_out

__all__ = [
    'Projection',
    'cluster_rows',
    'first_occurrences',
    'project_features',
    'select_direct',
    'split_held_out',
]
