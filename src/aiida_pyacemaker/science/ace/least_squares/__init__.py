"""The linear algebra of a fit: factors of rows that stream by, the ridge, and what the factor knows of errors."""

from .factors import StreamedFactor, triangle_of, without_zero
from .posterior import Posterior
from .ridge import RIDGE_GRID, Spectrum, cross_validated_ridge

__all__ = [
    'RIDGE_GRID',
    'Posterior',
    'Spectrum',
    'StreamedFactor',
    'cross_validated_ridge',
    'triangle_of',
    'without_zero',
]
