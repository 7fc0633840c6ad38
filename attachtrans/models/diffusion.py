"""What diffusion nets have in common: the picture they know and the latent they denoise."""

from __future__ import annotations

from torch import Tensor, nn


class DiffusionNet(nn.Module):
    """A net that finds the noise in a latent: `net(condition, latent, level)`.

    Condition and latent have one shape, (N, C, H, W); level (N or 1, 1) is the noise level, 0..1,
    and the result is the noise, of the latent's shape.

    bands       of the picture
    multiple_of width and height of the picture must be multiples of this
    edge        the only width and height that the net takes, None = any
    latent_step pixels per value of the latent along an axis
    """

    bands: int
    multiple_of: int = 1
    edge: int | None = None
    latent_step: int = 1

    def encode(self, picture: Tensor) -> Tensor:
        """The condition for a picture (N, bands, height, width) in -1..1."""
        return picture

    def decode(self, latent: Tensor, condition: Tensor) -> Tensor:
        """The picture (N, bands, height, width) in -1..1 of a latent without noise."""
        del condition
        return latent
