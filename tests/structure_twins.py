"""Covariance structures by unconstrained numbers: what general optimisers move."""

import numpy as np


def covariances_from(x, name, K, d):
    """Covariances of a structure by unconstrained numbers: logarithms, and angles of rotations in planes."""
    x = list(x)

    def take(letter, size):
        if letter == "I":
            return np.zeros((K, size))
        rows = 1 if letter == "E" else K
        values = [x.pop() for _ in range(rows * size)]
        return np.broadcast_to(np.reshape(values, (rows, size)), (K, size))

    volumes, shapes = take(name[0], 1), take(name[1], d - 1)
    shapes = np.column_stack([shapes, -shapes.sum(axis=1)])
    turn = np.tile(np.eye(d), (K, 1, 1))
    planes = np.transpose(np.triu_indices(d, 1))
    for (p, q), angle in zip(planes, take(name[2], len(planes)).T[:, :, np.newaxis], strict=True):
        a, b = turn[:, :, p].copy(), turn[:, :, q].copy()
        turn[:, :, p], turn[:, :, q] = np.cos(angle) * a + np.sin(angle) * b, np.cos(angle) * b - np.sin(angle) * a
    assert not x
    return turn * np.exp(volumes + shapes)[:, np.newaxis] @ np.swapaxes(turn, 1, 2)
