"""V: the paper's convolutional VAE (World Models, appendix A.1), and its loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVE = 0.05  # nats of mean KL from which a latent dimension counts as active
LOGVAR_RANGE = (-12.0, 6.0)  # keeps exp() finite for any weights
SQUARED, CALIBRATED = "squared", "calibrated"  # kinds of error
LEAST_ERROR = 0.5  # of a picture, below which a calibrated error does not weigh more


@dataclass(frozen=True)
class ConvVAEConfig:
    """Sizes of V; the defaults are the paper's for Doom (4,446,915 parameters). CarRacing has 32 latents."""

    latent: int = 64  # Z
    channels: tuple[int, int, int, int] = (32, 64, 128, 256)
    kind: str = "conv-vae"


class ConvVAE(nn.Module):
    """Frames (B, 3, 64, 64) in [0, 1] <-> latents (B, Z).

    The encoder has four convolutions of kernel 4 and stride 2, and two dense heads. The decoder has a dense layer and
    four transposed convolutions of stride 2 and kernels 5, 5, 6, 6.
    """

    def __init__(self, config: ConvVAEConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.channels
        self.encoder = nn.Sequential(
            nn.Conv2d(3, a, 4, 2), nn.ReLU(),  # (B, a, 31, 31)
            nn.Conv2d(a, b, 4, 2), nn.ReLU(),  # (B, b, 14, 14)
            nn.Conv2d(b, c, 4, 2), nn.ReLU(),  # (B, c, 6, 6)
            nn.Conv2d(c, d, 4, 2), nn.ReLU(),  # (B, d, 2, 2)
        )  # fmt: skip
        self.mean = nn.Linear(4 * d, config.latent)
        self.logvar = nn.Linear(4 * d, config.latent)
        self.expand = nn.Linear(config.latent, 4 * d)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(4 * d, c, 5, 2), nn.ReLU(),  # (B, c, 5, 5)
            nn.ConvTranspose2d(c, b, 5, 2), nn.ReLU(),  # (B, b, 13, 13)
            nn.ConvTranspose2d(b, a, 6, 2), nn.ReLU(),  # (B, a, 30, 30)
            nn.ConvTranspose2d(a, 3, 6, 2), nn.Sigmoid(),  # (B, 3, 64, 64)
        )  # fmt: skip

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64) in [0, 1] -> mean and log variance of the latents, (B, Z) each."""
        features = self.encoder(images).flatten(1)  # (B, 4d)
        return self.mean(features), self.logvar(features).float().clamp(*LOGVAR_RANGE)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) -> (B, 3, 64, 64) in [0, 1]."""
        first, *rest = self.decoder
        assert isinstance(first, nn.ConvTranspose2d)
        assert first.bias is not None
        # A transposed convolution of a single pixel is a matrix product, which is several times faster.
        weight = first.weight.flatten(1)  # (4d, c*5*5)
        hidden = (self.expand(latents) @ weight).unflatten(1, first.weight.shape[1:])  # (B, c, 5, 5)
        hidden = hidden + first.bias[:, None, None].to(hidden.dtype)
        for layer in rest:
            hidden = layer(hidden)
        return hidden

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean and log variance; `noise` (B, Z) is standard normal."""
        mean, logvar = self.encode(images)
        return self.decode(mean + noise * (logvar / 2).exp()), mean, logvar


def to_images(frames: Tensor) -> Tensor:
    """Frames (B, 64, 64, 3) uint8 -> images (B, 3, 64, 64) float32 in [0, 1], channels last."""
    return frames.permute(0, 3, 1, 2).float().div_(255.0)


def to_frames(images: Tensor) -> Tensor:
    """Images (B, 3, 64, 64) in [0, 1] -> frames (B, 64, 64, 3) uint8."""
    return images.float().mul(255.0).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def kl_per_dimension(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL of N(mean, exp(logvar)) from N(0, 1), (B, Z), in nats."""
    return 0.5 * (mean.float().square() + logvar.exp() - 1.0 - logvar)


def kl_term(mean: Tensor, logvar: Tensor, floor: float | None = None) -> Tensor:
    """max(KL, `floor`) of each code, (B,). The floor is in nats; None is the paper's, Z/2."""
    return kl_per_dimension(mean, logvar).sum(dim=1).clamp_min(0.5 * mean.shape[1] if floor is None else floor)


def vae_loss(
    images: Tensor, reconstruction: Tensor, mean: Tensor, logvar: Tensor, weight: Tensor | None = None,
    kl_floor: float | None = None, scale: float = 1.0, error: str = SQUARED,
) -> Tensor:  # fmt: skip
    """`scale` * sum of squared errors + max(KL, `kl_floor`), averaged over the batch (the authors' code). A scalar.

    The sum (not the mean) over pixels and the lower bound on the KL prevent posterior collapse. `weight`
    (B, 1, 64, 64), of mean 1, weighs the pixels; None is the paper's loss. `kl_floor` is in nats; None is the
    paper's, Z/2.

    The `error` "calibrated" is the likelihood under a Gaussian whose variance is that of the errors in the batch
    (Rybkin et al. 2021, arXiv 2006.13202: the optimal sigma-VAE): the smaller they are, the more they weigh. So the few
    pixels of a ball count as soon as the rest of the picture is right.
    """
    errors = (images - reconstruction.float()).square()  # (B, 3, 64, 64)
    total = (errors if weight is None else errors * weight).sum(dim=(1, 2, 3))  # (B,)
    if error == CALIBRATED:
        scale = scale * images[0].numel() / (2 * float(total.detach().mean().clamp_min(LEAST_ERROR)))
    return (scale * total + kl_term(mean, logvar, kl_floor)).mean()


def motion_weight(images: Tensor, neighbours: Tensor, strength: float) -> Tensor:
    """Pixel weights (B, 1, 64, 64) of mean 1, larger where images (B, 3, 64, 64) differ from their neighbours in time.

    The change is averaged over 3x3 pixels, to include the edges of moving objects. Pixels that do not change have the
    weight 1 / (1 + strength * mean change).
    """
    change = (images - neighbours).abs().amax(dim=1, keepdim=True)  # (B, 1, 64, 64)
    weight = 1.0 + strength * F.avg_pool2d(change, 3, 1, 1)
    return weight / weight.mean()


def object_weight(objects: Tensor, weights: Tensor) -> Tensor:
    """Pixel weights (B, 1, 64, 64): 1, and `weights` (K,) more at, and beside, the pixels of objects (B, K, 64, 64).

    Small objects decide a game and cost little squared error.
    """
    grown = F.max_pool2d(objects.float(), 3, 1, 1)
    return 1.0 + (grown * weights[:, None, None]).amax(dim=1, keepdim=True)


def error_weight(images: Tensor, reconstruction: Tensor, strength: float) -> Tensor:
    """Pixel weights (B, 1, 64, 64) of mean 1, larger where V is wrong: small things that it leaves out.

    A thing of few pixels costs little squared error, so V omits it, even if it decides the game. No gradient goes
    through the weights. The error is averaged over 3x3 pixels, which leaves out single pixels of texture.
    """
    error = (images - reconstruction.detach().float()).abs().amax(dim=1, keepdim=True)  # (B, 1, 64, 64)
    weight = 1.0 + strength * F.avg_pool2d(error, 3, 1, 1)
    return weight / weight.mean()
