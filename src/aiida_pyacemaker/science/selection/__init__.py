"""Which structures are worth a label."""

from .direct import Projection, cluster_rows, project_features, select_direct
from .duplicates import drop_near_duplicates, first_occurrences
from .entropy import distribution_entropy, kernel_width
from .environments import Environments, find_environments
from .held_out import split_held_out
from .methods import IN_ENVIRONMENTS, Candidates, select
from .quotas import find_strata, share_out

__all__ = [
    'IN_ENVIRONMENTS',
    'Candidates',
    'Environments',
    'Projection',
    'cluster_rows',
    'distribution_entropy',
    'drop_near_duplicates',
    'find_environments',
    'find_strata',
    'first_occurrences',
    'kernel_width',
    'project_features',
    'select',
    'select_direct',
    'share_out',
    'split_held_out',
]
