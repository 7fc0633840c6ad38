"""Where a resection begins: closed forms and a search over all rotations, for any camera.

Everything here works on rays, not on pixels, so that fisheyes beyond 90 degrees and panoramas are
cameras like others. A point X seen along the unit ray v should lie on it: with S the rotation from
the world to the camera and t = -S C, the distance |(I - v vT)(S X + t)| is to vanish. t is linear
in S and drops out; what is left is a quadratic form in the nine numbers of S, whose minima on the
rotations are sought from 24 sides at once. (Object-space error of Lu, Hager and Mjolsness, 2000;
elimination of t as in Terzakis and Lourakis, SQPnP, 2020.)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEPS = 40
_LEVEL = 1e-14
"""Share of the form by which a step has to lead down for the search to go on."""
_KEPT = 4
"""Three points have up to four poses."""
_SAME = 1e-3
"""Radians between rotations that are one."""
_AXES = np.array(
    [
        [[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]],
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]],
        [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ]
)
"""Of small turns about x, y and z."""


def attitude(rays: Floats, xyz: Floats, position: Floats) -> Floats:
    """The rotation (3, 3) that turns rays (3, N) best towards points (3, N) (Kabsch, 1976)."""
    towards = xyz - position[:, None]
    length = np.linalg.norm(towards, axis=0)
    left, _, right = np.linalg.svd((towards / np.where(length > 0.0, length, 1.0)) @ rays.T)
    rotation: Floats = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return rotation


def place(rays: Floats, xyz: Floats, rotation: Floats) -> Floats:
    """The point (3,) that is nearest to all lines through points (3, N) along rotated rays."""
    across = _across(rotation @ rays)
    middle = xyz.mean(axis=1)
    centred = xyz - middle[:, None]
    sum_ = np.einsum("nij,jn->i", across, centred)
    found: Floats = np.linalg.lstsq(across.sum(axis=0), sum_, rcond=None)[0] + middle
    return found


def poses(rays: Floats, xyz: Floats) -> list[tuple[Floats, Floats]]:
    """Rotations and positions that show points (3, N) along rays (3, N), the best one first."""
    middle = xyz.mean(axis=1, keepdims=True)
    scale = float(np.linalg.norm(xyz - middle, axis=0).max()) or 1.0
    points = (xyz - middle) / scale
    form, shift = _quadratic(rays, points)
    turns = _descended(form, np.array(list(_cube_turns())))
    moves = np.einsum("ij,kj->ki", shift, turns.reshape(-1, 9))
    seen = turns @ points + moves[:, :, None]
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    # 1 - cosine: of all the minima only those are poses that have the points in front.
    misses = 1.0 - np.einsum("in,kin->kn", rays, seen)
    found: list[tuple[Floats, Floats]] = []
    for index in np.argsort(misses.sum(axis=1)):
        rotation = turns[index].T
        if all(np.trace(rotation.T @ other) < 3.0 - _SAME**2 for other, _ in found):
            position = -rotation @ moves[index] * scale + middle[:, 0]
            found.append((rotation, position))
        if len(found) == _KEPT:
            break
    return found


def _across(directions: Floats) -> Floats:
    """(3, N) unit directions -> (N, 3, 3) projections onto the planes across them."""
    across: Floats = np.eye(3) - np.einsum("in,jn->nij", directions, directions)
    return across


def _quadratic(rays: Floats, points: Floats) -> tuple[Floats, Floats]:
    """(9, 9) form of the nine numbers of S, row by row, and (3, 9) that gives t of them."""
    across = _across(rays)
    applied = np.einsum("ij,kn->nijk", np.eye(3), points).reshape(-1, 3, 9)
    shift = -np.linalg.pinv(across.sum(axis=0)) @ np.einsum("nij,njk->ik", across, applied)
    moved = applied + shift
    form = np.einsum("nji,njk,nkl->il", moved, across, moved)
    return form, shift


def _descended(form: Floats, turns: Floats) -> Floats:
    """(K, 3, 3) rotations, each led to a minimum of the form by damped Gauss-Newton steps."""
    size = float(np.trace(form))
    damping = np.full(len(turns), 1e-3 * size)
    value = _values(form, turns)
    for _ in range(_STEPS):
        slopes = np.einsum("aij,kjl->kila", _AXES, turns).reshape(-1, 9, 3)
        flat = turns.reshape(-1, 9)
        gradient = np.einsum("kia,ij,kj->ka", slopes, form, flat)
        curve = np.einsum("kia,ij,kjb->kab", slopes, form, slopes)
        curve += damping[:, None, None] * np.eye(3)
        steps = -np.linalg.solve(curve, gradient[:, :, None])[:, :, 0]
        trial = _turns(steps) @ turns
        trial_value = _values(form, trial)
        better = trial_value < value
        if not np.any(value - trial_value > _LEVEL * size):
            break
        turns = np.where(better[:, None, None], trial, turns)
        value = np.where(better, trial_value, value)
        damping = np.clip(damping * np.where(better, 0.1, 10.0), 1e-14 * size, 1e3 * size)
    return turns


def _values(form: Floats, turns: Floats) -> Floats:
    flat = turns.reshape(-1, 9)
    values: Floats = np.einsum("ki,ij,kj->k", flat, form, flat)
    return values


def _turns(vectors: Floats) -> Floats:
    """(K, 3) axes times angles -> (K, 3, 3) rotations (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)
    axis = vectors / np.where(angle > 0.0, angle, 1.0)[:, None]
    skew = np.einsum("ka,aij->kij", axis, _AXES)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    turns: Floats = np.eye(3) + sine * skew + (1.0 - cosine) * (skew @ skew)
    return turns


def _cube_turns() -> Iterator[Floats]:
    """The 24 rotations of a cube."""
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = np.diag(signs)[list(order)]
            if np.linalg.det(turn) > 0.0:
                yield turn
