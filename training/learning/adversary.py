"""V as a VAE-GAN: its error is measured in the features of a discriminator, which learns with it.

Source: Larsen, Sonderby, Larochelle and Winther, Autoencoding beyond pixels using a learned similarity metric (2015),
section 2.3 and algorithm 1. V itself stays the paper's, so M and C do not know the difference.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.infra.checkpoint import restore, training_state
from training.learning.optim import clip_gradients, total_loss
from wm_envs.hardware import autocast
from wm_envs.models.vision.conv_vae import ConvVAE
from wm_envs.models.vision.loss import kl_term

BETAS = (0.5, 0.999)  # of Adam, for all three networks: less momentum keeps their game stable
AHEAD = 0.2  # loss of the discriminator below which it waits for the decoder


class Discriminator(nn.Module):
    """Images (B, 3, 64, 64) in [0, 1] -> their features Dis_l (B, 4608) and the logits (B,) of "this is real"."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2), nn.LeakyReLU(0.2),  # (B, 32, 31, 31)
            nn.Conv2d(32, 64, 4, 2, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),  # (B, 64, 14, 14)
            nn.Conv2d(64, 128, 4, 2, bias=False), nn.BatchNorm2d(128),  # (B, 128, 6, 6), of unit variance
        )  # fmt: skip
        self.last = nn.Sequential(
            nn.LeakyReLU(0.2), nn.Conv2d(128, 256, 4, 2), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(1024, 1)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits."""
        features = self.first(images)
        return features.flatten(1), self.last(features).squeeze(1)


class Adversary:
    """The discriminator with its optimizer, and a step of all three networks."""

    def __init__(
        self, vision: ConvVAE, gamma: float, scale: float, kl_floor: float | None, learning_rate: float
    ) -> None:
        device = next(vision.parameters()).device
        self.network = Discriminator().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate, BETAS, fused=True)
        self.vision, self.gamma, self.scale, self.kl_floor = vision, gamma, scale, kl_floor
        decoding = {id(each) for part in (vision.expand, vision.decoder) for each in part.parameters()}
        self.encoder = [each for each in vision.parameters() if id(each) not in decoding]
        self.decoder = [each for each in vision.parameters() if id(each) in decoding]
        self.losses: dict[str, float] = {}  # of the last step

    @property
    def state(self) -> dict[str, Tensor]:
        """What a checkpoint of V holds of the adversary."""
        return training_state(self.network, self.optimizer)

    def restore(self, path: Path, state: dict[str, Tensor]) -> None:
        """Continue from `state`, read from the checkpoint `path`; raises `BrokenStore`."""
        restore(path, state, self.network, self.optimizer)

    def train_batch(self, images: Tensor, optimizer: torch.optim.Optimizer, draw: torch.Generator) -> None:
        """One step of encoder, decoder and discriminator on images (B, 3, 64, 64).

        The encoder lowers KL + L_llike, the decoder gamma * L_llike + its GAN loss, the discriminator its own: no
        gradient of the GAN reaches the encoder, and none of the likelihood the discriminator. The decoder's GAN loss
        is that of a fooled discriminator, -log D, which has a gradient when the discriminator is sure.
        """
        size, device = (len(images), self.vision.config.latent), images.device
        noise, prior = (torch.randn(size, generator=draw).to(device) for _ in range(2))
        with autocast(device):
            mean, logvar = (part.float() for part in self.vision.encode(images))
            made = self.vision.decode(torch.cat([mean + noise * (logvar / 2).exp(), prior]))
            features, logits = (part.float() for part in self.network(torch.cat([images, made.float()])))
        (real, copied, _), (of_real, *of_made) = features.chunk(3), logits.chunk(3)

        kl = kl_term(mean, logvar, self.kl_floor).mean()
        likelihood = self.scale * 0.5 * (real.detach() - copied).square().sum(1).mean()  # of N(Dis_l(made), I)
        fooled = sum(F.softplus(-each).mean() for each in of_made) / 2
        told = (F.softplus(-of_real).mean() + sum(F.softplus(each).mean() for each in of_made) / 2) / 2
        losses = {"encoder": kl + likelihood, "decoder": self.gamma * likelihood + fooled, "discriminator": told}
        owners = {"encoder": self.encoder, "decoder": self.decoder, "discriminator": list(self.network.parameters())}
        for name, parameters in owners.items():
            found = torch.autograd.grad(total_loss(losses[name]), parameters, retain_graph=True)
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = gradient
        clip_gradients(self.vision, 1e4)
        clip_gradients(self.network, 10.0)
        optimizer.step()
        if told.item() > AHEAD:
            self.optimizer.step()
        self.losses = {f"{name}_loss": each.item() for name, each in losses.items()}
