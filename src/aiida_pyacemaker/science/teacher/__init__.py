"""Foundation models as teachers: find, load, label, say how sure, fine-tune."""

from .calculator import teacher_calculator
from .committee import MACE, Teacher, load_teacher
from .engine import CommitteeLabels, Engine
from .finding import FoundTeacher, describe_teacher, find_teacher, licence_notice
from .labels import atom_features, label_frames, teacher_descriptors
from .plugins.cards import Card, named_card, plugin_names, read_card
from .readouts import finetune_readouts
from .registry import ResolvedModel, resolve_model

__all__ = (
    'MACE',
    'Card',
    'CommitteeLabels',
    'Engine',
    'FoundTeacher',
    'ResolvedModel',
    'Teacher',
    'atom_features',
    'describe_teacher',
    'find_teacher',
    'finetune_readouts',
    'label_frames',
    'licence_notice',
    'load_teacher',
    'named_card',
    'plugin_names',
    'read_card',
    'resolve_model',
    'teacher_calculator',
    'teacher_descriptors',
)
