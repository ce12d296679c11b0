"""DIRECT: stratified sampling of clusters in a reduced space of structure features.

Ji Qi, Tsz Wai Ko, Brandon C. Wood, Tuan Anh Pham, Shyue Ping Ong, npj Computational Materials 10, 43 (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.cluster import Birch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

START_THRESHOLD = 0.5
MAX_SHRINKS = 40


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Features in the weighted principal space: scores (N, m) dimensionless, explained variance ratios (m,)."""

    scores: NDArray[np.float64]
    explained: NDArray[np.float64]


def project_features(features: NDArray[np.float64]) -> Projection:
    """Standardise (N, D) features, keep the components with eigenvalue above 1 (Kaiser), weight by their variance.

    Each score is multiplied by its component's explained variance ratio. At least one component is kept; constant
    features contribute nothing. Raises ``ValueError`` when a feature is not finite.
    """
    if not np.isfinite(features).all():
        rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
        raise ValueError(f'features of frames {rows[:5].tolist()} are not finite: drop these frames first')
    if len(features) < 2 or not np.ptp(features, axis=0).any():
        return Projection(scores=np.zeros((len(features), 1)), explained=np.ones(1))
    standard = StandardScaler().fit_transform(features)
    pca = PCA(svd_solver='covariance_eigh').fit(standard)
    n_kept = max(1, int(np.count_nonzero(pca.explained_variance_ > 1.0)))
    explained = pca.explained_variance_ratio_[:n_kept]
    kept = pca.components_[:n_kept].T  # all components of a large pool would take as much memory as its features
    scores = (standard @ kept - pca.mean_ @ kept) * explained
    return Projection(scores=scores, explained=explained)


def select_direct(
    scores: NDArray[np.float64], *, count: int, rng: Generator, start: Sequence[int] = ()
) -> NDArray[np.int64]:
    """Return ``count`` rows of the (N, m) scores in the order they are taken, ``start`` not among them.

    BIRCH makes ``count`` + len(``start``) clusters; each that ``start`` does not stand for gives the row nearest to
    its mean. Where the rows form fewer clusters (copies), the rest is drawn with ``rng`` from the clusters in turn,
    largest first. All other rows where ``count`` exceeds them.
    """
    others = np.setdiff1d(np.arange(len(scores)), np.asarray(start, dtype=np.int64))
    if count >= len(others):
        return others
    clusters = [np.flatnonzero(labels) for labels in _memberships(cluster_rows(scores, count=count + len(start)))]
    served = set(start)
    queues = []
    for rows in sorted(clusters, key=lambda rows: (-len(rows), rows[0])):
        n_served = sum(int(row) in served for row in rows)
        queue = [row for row in _ordered(rows, scores, rng).tolist() if row not in served]
        queues.append([None] * n_served + queue)
    selected: list[int] = []
    depth = 0
    while len(selected) < count:
        turn = [queue[depth] for queue in queues if depth < len(queue)]
        selected += [row for row in turn if row is not None]
        depth += 1
    return np.array(selected[:count], dtype=np.int64)


def cluster_rows(scores: NDArray[np.float64], *, count: int) -> NDArray[np.int64]:
    """Return (N,) cluster labels of BIRCH with at most ``count`` clusters, exactly so where the rows allow it.

    The threshold starts at 0.5 and shrinks by the ratio of clusters found to wanted until there are enough
    sub-clusters; a surplus is merged by agglomeration.
    """
    threshold = START_THRESHOLD
    model = Birch(threshold=threshold, n_clusters=None).fit(scores)
    for _ in range(MAX_SHRINKS):
        found = len(model.subcluster_centers_)
        if found >= count:
            break
        threshold *= min(found / count, 0.9)
        model = Birch(threshold=threshold, n_clusters=None).fit(scores)
    if len(model.subcluster_centers_) > count:
        model = Birch(threshold=threshold, n_clusters=count).fit(scores)
    return np.asarray(model.labels_, dtype=np.int64)


def _memberships(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.unique(labels)[:, None] == labels[None, :]


def _ordered(rows: NDArray[np.int64], scores: NDArray[np.float64], rng: Generator) -> NDArray[np.int64]:
    """Return the rows of one cluster: the one nearest to their mean first, the others in random order."""
    distances = np.linalg.norm(scores[rows] - scores[rows].mean(axis=0), axis=1)
    nearest = int(np.argmin(distances))
    return np.concatenate([rows[[nearest]], rng.permutation(np.delete(rows, nearest))])
