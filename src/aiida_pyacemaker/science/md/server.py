"""Energies, forces and γ for LAMMPS' ``fix external``: what the ``pace/extrapolation`` pair lines ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..neighbours import Floats, Integers, Pairs, VerletList

EXTERNAL_FIX = 'pyacemaker_ace'
GRADED_STYLE, PLAIN_STYLE = 'pace/extrapolation', 'pace'
TEACHER_STYLE = 'pyacemaker/teacher'
_STYLE_ATOM, _TYPE_VECTOR = 1, 1


Answer = tuple[float, Floats, Floats, Floats | None]
Geometry = tuple[Floats, Floats, NDArray[np.bool_]]  # positions (n, 3) Å, cell (3, 3) Å rows, pbc (3,)
Grader = Callable[[Integers, Geometry], Floats]  # (n,) element of each atom as for an Evaluator -> (n,) its measure


class Evaluator(Protocol):
    """A potential as the engine sees it."""

    cutoff: float

    def evaluate(self, elements: Integers, pairs: Pairs, *, with_gamma: bool) -> Answer:
        """Return energy eV, forces (n, 3) eV/Å, virial Σ r_a f_b (6,) eV (xx yy zz xy xz yz), γ (n,) or None.

        elements: (n,) index of each atom's element in the order of the ``pair_coeff`` line.
        """


@dataclass(frozen=True)
class Term:
    """A potential with its list of pairs; factor: a number, or ``v_NAME`` of an equal-style variable of LAMMPS."""

    evaluator: Evaluator
    pairs: VerletList
    factor: str


class ForceServer:
    """Answers the callback of ``fix external`` for one LAMMPS instance (one MPI rank)."""

    def __init__(self, lmp: Any) -> None:
        self.lmp = lmp
        self.terms: dict[str, Term] = {}
        self.error: Exception | None = None
        self.gamma_fixes: dict[str, int] = {}
        self.graders: dict[str, Grader] = {}
        self.between_steps: Callable[[int], None] | None = None
        self._has_fix = False
        self._last_step = -1

    def install(self, style: str, evaluator: Evaluator, factor: str = '1') -> None:
        """Serve ``evaluator`` for ``style`` from now on; the fix is made at the first call."""
        self.terms[style] = Term(evaluator, VerletList(evaluator.cutoff), factor)
        if not self._has_fix:
            self._has_fix = True
            self.lmp.command(f'fix {EXTERNAL_FIX} all external pf/callback 1 1')
            self.lmp.command(f'fix_modify {EXTERNAL_FIX} energy yes virial yes')
            self.lmp.set_fix_external_callback(EXTERNAL_FIX, self._callback, self.lmp)

    def add_gamma_fix(self, name: str, group: str, every: int, grader: Grader | None = None) -> None:
        """Make per-atom storage ``f_name``: γ, or what ``grader`` says, of set-up and of the multiples of ``every``."""
        self.graders.pop(name, None)
        if grader is not None:
            self.graders[name] = grader
        self.lmp.command(f'fix {name} {group} store/state 0 x')
        self.gamma_fixes[name] = every
        self._store(name, np.full(self.lmp.extract_setting('nlocal'), np.nan))

    def _callback(self, caller: Any, step: int, n_local: int, tag: Any, positions: Any, forces: Any) -> None:
        """Fill ``forces``; an exception cannot cross the C++ above, so it is kept and the run stopped."""
        try:
            forces[:n_local] = self._serve(int(step), np.array(tag[:n_local]).ravel(), np.array(positions[:n_local]))
        except Exception as error:  # raised again by ScriptRunner.run once LAMMPS has returned
            self.error = error
            forces[:n_local] = 0.0
            self.lmp.force_timeout()

    def _serve(self, step: int, tag: Integers, positions: Floats) -> Floats:
        if not self.terms:
            raise RuntimeError('no potential is loaded: pair_coeff must come before run')
        order = np.argsort(tag, kind='stable')
        cell, origin, pbc = self._box()
        types = np.array(self.lmp.numpy.extract_atom('type')[: len(tag)]).ravel()
        if not np.isfinite(positions).all():
            raise ValueError('Non-numeric positions - simulation unstable')
        setting_up = step <= self._last_step or self._last_step < 0
        wanted = [name for name, every in self.gamma_fixes.items() if setting_up or step % every == 0]
        self._last_step = step
        geometry, elements = (positions[order] - origin, cell, pbc), types[order] - 1
        energy, forces, virial, gamma = self._sum(elements, geometry, with_gamma=not set(wanted) <= set(self.graders))
        self.lmp.fix_external_set_energy_global(EXTERNAL_FIX, float(energy))
        self.lmp.fix_external_set_virial_global(EXTERNAL_FIX, [float(value) for value in virial])
        if self.between_steps is not None and not setting_up:
            self.between_steps(step)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        for name in wanted:
            grades = self.graders[name](elements, geometry) if name in self.graders else gamma
            if grades is not None:
                broken = ~np.isfinite(forces).all(axis=1) | ~np.isfinite(grades)
                self._store(name, np.where(broken, np.inf, grades)[back])
        return forces[back]

    def _sum(self, elements: Integers, geometry: Geometry, *, with_gamma: bool) -> Answer:
        """Return the sum over the terms times their factors, and the γ of the one that has grades."""
        energy, forces, virial = 0.0, np.zeros((len(elements), 3)), np.zeros(6)
        grades: Floats | None = None
        for style, term in self.terms.items():
            graded = with_gamma and style == GRADED_STYLE
            pairs, factor = term.pairs.pairs(*geometry), self._factor(term.factor)
            found = term.evaluator.evaluate(elements, pairs, with_gamma=graded)
            energy += factor * found[0]
            forces += factor * found[1]
            virial += factor * found[2]
            grades = found[3] if graded else grades
        return energy, forces, virial, grades

    def _factor(self, text: str) -> float:
        return float(self.lmp.extract_variable(text[2:]) if text.startswith('v_') else text)

    def _box(self) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return cell, origin (0 along free sides: shrink-wrapping would move it with the atoms) and pbc."""
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        lengths = np.array(high) - np.array(low)
        cell = np.array([[lengths[0], 0.0, 0.0], [xy, lengths[1], 0.0], [xz, yz, lengths[2]]])
        pbc = np.array(periodic, dtype=bool)
        return cell, np.where(pbc, low, 0.0), pbc

    def _store(self, name: str, values: Floats) -> None:
        column = self.lmp.numpy.extract_fix(name, _STYLE_ATOM, _TYPE_VECTOR)
        if column is None:
            raise RuntimeError(f'fix {name} has no per-atom storage: unfix it only together with the run that used it')
        np.asarray(column).reshape(-1)[: len(values)] = values
