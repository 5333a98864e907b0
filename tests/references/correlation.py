"""Self-correlation as the paper (SPA, Eqs 6 to 11) and as its released code compute it."""

import numpy as np


def cosines(features):
    """Eq. 6 for one image, (C, h, w) -> (N, N); a zero vector has cosine 0 with everything."""
    vectors = features.reshape(features.shape[0], -1).T
    n = len(vectors)
    S = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            norms = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
            S[i, j] = vectors[i] @ vectors[j] / norms if norms > 0 else 0.0
    return S


def walks(cosine, order):
    """Sum over chains i, k, ..., j of ``order`` cosines in which no step stays where it is (Eq. 8)."""
    n, S = len(cosine), cosine
    others = [np.array([k for k in range(n) if k != j], dtype=int) for j in range(n)]
    A = np.array([[S[i, j] if i != j else 0.0 for j in range(n)] for i in range(n)])
    for _ in range(order - 1):
        A = np.array([[A[i, o] @ S[o, j] for j, o in enumerate(others)] for i in range(n)])
    return A


def rescale_rows(matrix, rounding):
    """Eq. 9; a row whose span is within ``rounding`` becomes 0."""
    out = np.zeros_like(matrix)
    for i, row in enumerate(matrix):
        span = row.max() - row.min()
        if span > rounding:
            out[i] = (row - row.min()) / span
    return out


def self_correlation(layers, orders):
    """One image: list of (C, h, w) on one grid -> (N, N), the sum of the layers' Eq. 11."""
    total = 0.0
    for features in layers:
        S = cosines(features)
        eps, size = np.finfo(S.dtype).eps, np.sqrt((S**2).sum())
        parts = []
        for order in orders:
            if order == 1:
                parts.append(np.maximum(S, 0.0))
            else:
                parts.append(rescale_rows(walks(S, order), 8 * eps * size ** (order - 1)))
        total = total + np.max(parts, axis=0)
    return total


def self_correlation_released(layers, first_threshold, second_threshold, second_weight, order):
    """One image: the released code's combined map COM, columns sum to 1, layers added."""
    total = 0.0
    for features in layers:
        A = np.maximum(cosines(features), 0.0)
        A = np.where(first_threshold <= A, A, 0.0)
        n = len(A)
        first, step = np.zeros_like(A), np.zeros_like(A)
        for j in range(n):
            column = A[:, j].copy()
            first[:, j] = column / (column.sum() + 1e-5)
            column[j] = 0.0
            step[:, j] = column / (column.sum() + 1e-5)
        second = step.copy()
        for _ in range(order - 1):
            second = np.array([[second[i] @ step[:, j] for j in range(n)] for i in range(n)])
            for j in range(n):
                second[:, j] /= second[:, j].sum() + 1e-10
        second[second < second_threshold / n] = 0.0
        both = np.maximum(first, second_weight * second)
        for j in range(n):
            both[:, j] /= both[:, j].sum() + 1e-10
        total = total + both
    return total
