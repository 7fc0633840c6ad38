"""The collinearity equations, written out: an oracle for film cameras."""

from __future__ import annotations

import numpy as np


def on_film(rotation, centre, focal, principal, world, radial=(), tangential=(0.0, 0.0)):
    """(x, y) on the film of a world point.

    Args:
        rotation: photo axes of the film -> world.
        focal: and `principal`, in the film's unit; `radial` K0, K1, ... of radii in that unit.
    """
    q = np.array(rotation).T @ (np.array(world) - centre)
    x, y = -focal * q[:2] / q[2]
    r2 = x * x + y * y
    factor = 1.0 + sum(k * r2**power for power, k in enumerate(radial))
    p1, p2 = tangential
    return (
        principal[0] + x * factor + p1 * (r2 + 2 * x * x) + 2 * p2 * x * y,
        principal[1] + y * factor + p2 * (r2 + 2 * y * y) + 2 * p1 * x * y,
    )


def opk(omega, phi, kappa):
    """Rx(omega) Ry(phi) Rz(kappa), term by term as Esri and PATB print it."""
    so, sp, sk = np.sin(np.deg2rad([omega, phi, kappa]))
    co, cp, ck = np.cos(np.deg2rad([omega, phi, kappa]))
    return np.array(
        [
            [cp * ck, -cp * sk, sp],
            [co * sk + so * sp * ck, co * ck - so * sp * sk, -so * cp],
            [so * sk - co * sp * ck, so * ck + co * sp * sk, co * cp],
        ]
    )


def hpr(heading, pitch, roll):
    """Rz(-heading) Rx(pitch) Rz(-roll), factor by factor."""
    sh, sp, sr = np.sin(np.deg2rad([heading, pitch, roll]))
    ch, cp, cr = np.cos(np.deg2rad([heading, pitch, roll]))
    first = np.array([[ch, sh, 0], [-sh, ch, 0], [0, 0, 1]])
    second = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    third = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return first @ second @ third
