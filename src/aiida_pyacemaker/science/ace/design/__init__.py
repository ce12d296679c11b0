"""The linear problem of a fit: derivatives of energy, forces and stress by the coefficients."""

from .rows import DesignRows, design_rows

__all__ = ['DesignRows', 'design_rows']
