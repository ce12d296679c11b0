"""What a static DFT calculation is made of and whether its result can be believed; knows no program's input format."""

from .convergence import predict_more_steps, read_accuracies
from .cost import CostModel, deal_lanes, fit_cost_model, order_frames, scf_work
from .electrons import check_electrons, closest_pair, count_electrons, group_moments, is_closed_shell, is_magnetic
from .isolation import choose_isolation, put_in_box
from .sanity import find_insanity, rigid_body_force

__all__ = [
    'CostModel',
    'check_electrons',
    'choose_isolation',
    'closest_pair',
    'count_electrons',
    'deal_lanes',
    'find_insanity',
    'fit_cost_model',
    'group_moments',
    'is_closed_shell',
    'is_magnetic',
    'order_frames',
    'predict_more_steps',
    'put_in_box',
    'read_accuracies',
    'rigid_body_force',
    'scf_work',
]
