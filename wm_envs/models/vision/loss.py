"""The loss of V, and the weights of its pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

ACTIVE = 0.05  # nats of mean KL from which a latent dimension counts as active
SQUARED, CALIBRATED = "squared", "calibrated"  # kinds of error
LEAST_ERROR = 0.5  # of a picture, below which a calibrated error does not weigh more


def kl_per_dimension(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL of N(mean, exp(logvar)) from N(0, 1), (B, Z), in nats."""
    return 0.5 * (mean.float().square() + logvar.exp() - 1.0 - logvar)


def active_latents(mean: Tensor, logvar: Tensor) -> list[int]:
    """The latent dimensions that V uses in codes (N, Z), those with a mean KL above `ACTIVE`; the highest KL first."""
    kl = kl_per_dimension(mean, logvar).mean(0)  # (Z,)
    order: list[int] = kl.argsort(descending=True).tolist()
    return [dimension for dimension in order if kl[dimension] > ACTIVE]


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
