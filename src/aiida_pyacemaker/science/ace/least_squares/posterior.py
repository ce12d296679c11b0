"""What the factor of a fit knows of its errors: variances of predictions, leverage of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ridge import Spectrum

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """The coefficients are normal about the fitted ones with covariance ``noise`` H⁻¹, H = AᵀA + λ D².

    root: (P, P) with root rootᵀ = H⁻¹; noise: σ², the penalised loss over the number of rows, the variance of a row
    of weight 1 (Bishop, Pattern Recognition and Machine Learning, section 3.5).
    """

    root: Array
    noise: float

    @classmethod
    def of(cls, spectrum: Spectrum, ridge: float) -> Posterior:
        """Return the posterior of a decomposed problem at one ridge."""
        root = (spectrum.right.T / np.sqrt(spectrum.values**2 + ridge * spectrum.unit)) / spectrum.scales[:, None]
        return cls(root=root, noise=spectrum.penalised_loss(ridge) / max(spectrum.n_rows, 1))

    @property
    def covariance(self) -> Array:
        """Covariance of the coefficients, (P, P)."""
        return np.asarray(self.noise * self.root @ self.root.T)

    def variance(self, rows: Array) -> Array:
        """Return the variance of rows @ coefficients: (..., P) gives (...,), in squared units of the prediction."""
        return np.asarray(self.noise * np.sum((rows @ self.root) ** 2, axis=-1))

    def leverage(self, rows: Array) -> Array:
        """Return what each *weighted* row of the fit decides of its own prediction: (..., P) gives (...,), 0 to 1.

        The sum over the rows of a fit is its effective number of coefficients, Σ s²/(s² + λ). The sum over the rows
        of an R factor is that over the rows it was made of.
        """
        return np.asarray(np.sum((rows @ self.root) ** 2, axis=-1))
