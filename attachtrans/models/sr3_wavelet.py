"""SR3_Wavelet: diffusion on wavelet coefficients (DiWa: Moser et al. 2023, arXiv 2304.01994).

One level of the Haar transform makes four bands at half the size of each. A plain convolutional net
(`dwsr`) predicts the coefficients of the result, and the U-Net of SR3 denoises what is to be added
to them. Layer names are ArcGIS's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attachtrans.errors import ModelError
from attachtrans.models.diffusion import DiffusionNet
from attachtrans.models.sr3_unet import UNet, unet_like
from attachtrans.models.weights import part_of

_MOST_CONVOLUTIONS = 1000

State = Mapping[str, Tensor]


def haar(image: Tensor) -> Tensor:
    """(N, C, H, W) with even H, W -> (N, 4 C, H / 2, W / 2): means, then three differences.

    Orthonormal; each band's C channels lie together.
    """
    a, b = image[:, :, 0::2, 0::2], image[:, :, 0::2, 1::2]
    c, d = image[:, :, 1::2, 0::2], image[:, :, 1::2, 1::2]
    return torch.cat([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], dim=1) / 2


def inverse_haar(bands: Tensor) -> Tensor:
    """(N, 4 C, H, W) -> (N, C, 2 H, 2 W), from what `haar` gives."""
    mean, rows, cols, both = bands.chunk(4, dim=1)
    count, channels, height, width = mean.shape
    image = bands.new_empty(count, channels, 2 * height, 2 * width)
    image[:, :, 0::2, 0::2] = mean + rows + cols + both
    image[:, :, 0::2, 1::2] = mean + rows - cols - both
    image[:, :, 1::2, 0::2] = mean - rows + cols - both
    image[:, :, 1::2, 1::2] = mean - rows - cols + both
    return image.div_(2)


class Predictor(nn.Module):
    """x + convolutions with ReLU between them; all without bias."""

    def __init__(self, widths: list[tuple[int, int]]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in widths:
            layers += [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
        self.convs = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(N, 4 C, H, W) -> the same shape."""
        out: Tensor = x + self.convs(x)
        return out


class WaveletNet(DiffusionNet):
    """The two nets of a checkpoint; a latent is the coefficients of a picture."""

    latent_step = 2

    def __init__(self, denoise_fn: UNet, dwsr: Predictor) -> None:
        super().__init__()
        self.denoise_fn = denoise_fn
        self.dwsr = dwsr
        self.bands = denoise_fn.bands // 4
        self.multiple_of = 2 * denoise_fn.multiple_of

    def forward(self, condition: Tensor, latent: Tensor, level: Tensor) -> Tensor:
        """Noise in the latent: two of (N, 4 C, H, W) and (N or 1, 1) -> (N, 4 C, H, W)."""
        out: Tensor = self.denoise_fn(condition, latent, level)
        return out

    def encode(self, picture: Tensor) -> Tensor:
        """See `DiffusionNet`."""
        return haar(picture)

    def decode(self, latent: Tensor, condition: Tensor) -> Tensor:
        """See `DiffusionNet`."""
        predicted: Tensor = self.dwsr(condition)
        return inverse_haar(latent + predicted.float())


def wavelet_like(state: State, *, groups: int) -> WaveletNet:
    """The nets that have the weights `state` ("denoise_fn.downs.0.weight", ...), on meta.

    Raises:
        ModelError: these are no weights of such nets.
    """
    unet = unet_like(part_of(state, "denoise_fn."), groups=groups)
    names = sorted(
        (name for name in state if name.startswith("dwsr.convs.")),
        key=lambda name: (len(name), name),
    )
    if not 0 < len(names) <= _MOST_CONVOLUTIONS:
        raise ModelError("The weights hold no SR3_Wavelet net (dwsr.convs.0.weight is missing).")
    shapes = [state[name].shape for name in names]
    bands = unet.bands
    chained = all(len(shape) == 4 for shape in shapes) and [
        bands,
        *(shape[0] for shape in shapes),
    ] == [*(shape[1] for shape in shapes), bands]
    if not chained or bands % 4:
        raise ModelError("The layers of dwsr of the SR3_Wavelet net do not fit together.")
    with torch.device("meta"):
        return WaveletNet(unet, Predictor([(shape[1], shape[0]) for shape in shapes]))
