"""Reference pair potentials for delta learning: what keeps atoms apart where nothing was learnt."""

from .fitting import dimer_curves, fit_baseline
from .pair import PairBaseline, PairTerm
from .table import lammps_table, write_lammps_table

__all__ = ['PairBaseline', 'PairTerm', 'dimer_curves', 'fit_baseline', 'lammps_table', 'write_lammps_table']
