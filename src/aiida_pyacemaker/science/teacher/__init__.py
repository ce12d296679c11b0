"""Foundation models as teachers: find, load, label, say how sure, fine-tune."""

from .calculator import teacher_calculator
from .committee import Teacher, load_teacher
from .labels import label_frames, teacher_descriptors
from .readouts import finetune_readouts
from .registry import ResolvedModel, resolve_model

__all__ = (
    'ResolvedModel',
    'Teacher',
    'finetune_readouts',
    'label_frames',
    'load_teacher',
    'resolve_model',
    'teacher_calculator',
    'teacher_descriptors',
)
