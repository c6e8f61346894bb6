"""V: number of parameters, the fast decoder against the plain one, the loss against its formula."""

import pytest
import torch

from training.learning.adversary import Adversary
from wm_envs.models.vision.base import to_frames, to_images
from wm_envs.models.vision.column_vae import ColumnVAE, ColumnVAEConfig
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.models.vision.loss import error_weight, kl_per_dimension, motion_weight, object_weight, vae_loss
from wm_envs.models.vision.residual_vae import ResidualVAE, ResidualVAEConfig


@pytest.mark.parametrize(("latent", "parameters"), [(64, 4_446_915), (32, 4_348_547)])
def test_number_of_parameters_is_the_papers(latent: int, parameters: int) -> None:
    with torch.device("meta"):
        vision = ConvVAE(ConvVAEConfig(latent))
    assert sum(p.numel() for p in vision.parameters()) == parameters


@pytest.mark.parametrize("channels", [(4, 4, 8, 8), (32, 64, 128, 256)])
@torch.no_grad()
def test_decode_equals_the_plain_decoder(channels: tuple[int, int, int, int]) -> None:
    torch.manual_seed(0)
    vision = ConvVAE(ConvVAEConfig(8, channels))
    latents = torch.randn(3, 8)
    plain = vision.decoder(vision.expand(latents)[:, :, None, None])
    decoded = vision.decode(latents)
    assert decoded.shape == (3, 3, 64, 64)
    torch.testing.assert_close(decoded, plain, atol=1e-5, rtol=1e-5)


def test_decode_gradients_equal_the_plain_decoders() -> None:
    torch.manual_seed(0)
    vision, latents = ConvVAE(ConvVAEConfig(4, (4, 4, 8, 8))), torch.randn(2, 4)
    gradients = []
    for images in (vision.decode(latents), vision.decoder(vision.expand(latents)[:, :, None, None])):
        vision.zero_grad()
        images.square().sum().backward()
        gradients.append([p.grad.clone() for p in vision.decoder.parameters()])
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_encode_and_forward() -> None:
    vision = ConvVAE(ConvVAEConfig(4, (4, 4, 8, 8)))
    images = torch.rand(2, 3, 64, 64)
    mean, logvar = vision.encode(images)
    assert mean.shape == logvar.shape == (2, 4)
    noise = torch.randn(2, 4)
    made, mean_too, logvar_too = vision(images, noise)
    torch.testing.assert_close(made, vision.decode(mean + noise * torch.exp(0.5 * logvar)))
    assert torch.equal(mean, mean_too) and torch.equal(logvar, logvar_too)


def test_kl_matches_torch_distributions() -> None:
    mean, logvar = torch.randn(5, 4), torch.randn(5, 4)
    posterior = torch.distributions.Normal(mean, (logvar / 2).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_per_dimension(mean, logvar), expected)


@pytest.mark.parametrize("spread", [0.0, 5.0], ids=["below the floor", "above the floor"])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_matches_the_formula(spread: float, weighted: bool) -> None:
    torch.manual_seed(0)
    images, made = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    mean, logvar = spread * torch.randn(2, 4), torch.zeros(2, 4)
    weight = torch.rand(2, 1, 64, 64) if weighted else None
    total = 0.0
    for i in range(2):
        squared = (images[i] - made[i]) ** 2 * (weight[i] if weight is not None else 1)
        kl = -0.5 * float((1 + logvar[i] - mean[i] ** 2 - logvar[i].exp()).sum())
        assert (kl > 2) == (spread > 0)
        total += float(squared.sum()) + max(kl, 0.5 * 4)
    assert float(vae_loss(images, made, mean, logvar, weight)) == pytest.approx(total / 2, rel=1e-5)


def test_kl_below_the_lower_bound_has_no_gradient() -> None:
    images, mean = torch.rand(1, 3, 64, 64), torch.full((1, 4), 0.1, requires_grad=True)
    vae_loss(images, images, mean, torch.zeros(1, 4)).backward()
    assert not mean.grad.any()


def test_motion_weight_is_larger_where_pixels_change() -> None:
    images = torch.full((2, 3, 64, 64), 0.2)
    neighbours = images.clone()
    neighbours[0, 1, 10:20, 10:20] = 0.9
    weight = motion_weight(images, neighbours, 20.0)
    assert weight.shape == (2, 1, 64, 64)
    assert float(weight.mean()) == pytest.approx(1, rel=1e-5)
    assert float(weight[0, 0, 15, 15]) > 5 * float(weight[0, 0, 40, 40])
    assert float(weight[0, 0, 9, 15]) > float(weight[0, 0, 40, 40]), "the edge of the change has a larger weight"
    assert torch.equal(motion_weight(images, images, 20.0), torch.ones(2, 1, 64, 64))


def test_frames_round_trip_through_images() -> None:
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    frames.view(-1)[:256] = torch.arange(256, dtype=torch.uint8)
    images = to_images(frames)
    assert images.shape == (2, 3, 64, 64) and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1
    assert torch.equal(to_frames(images), frames)


@torch.no_grad()
def test_a_column_is_coded_by_its_own_latents() -> None:
    torch.manual_seed(0)
    vision = ColumnVAE(ColumnVAEConfig(latent=2 + 16, channels=(4, 4, 8, 8), per_column=1))
    images = torch.rand(2, 3, 64, 64)
    mean, logvar = vision.encode(images)
    assert mean.shape == logvar.shape == (2, 18)
    changed = images.clone()
    changed[:, :, :, 40:44] = 0  # column 10; its neighbours see a little of it
    apart = (vision.encode(changed)[0] != mean).any(0)
    assert apart[2 + 10] and not apart[2:8].any() and not apart[2 + 14 :].any()
    decoded, other = vision.decode(mean), mean.clone()
    other[:, 2 + 10] += 1
    assert decoded.shape == (2, 3, 64, 64)
    moved = (vision.decode(other) != decoded).any(dim=(0, 1, 2))
    assert moved[40:44].all() and not moved[:20].any()


def test_loss_with_a_floor_in_nats_and_a_scale() -> None:
    images, made, mean = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64), torch.zeros(2, 4)
    error = float((images - made).square().sum((1, 2, 3)).mean())
    found = float(vae_loss(images, made, mean, torch.zeros(2, 4), kl_floor=40.0, scale=3.0))
    assert found == pytest.approx(3 * error + 40, rel=1e-5)


def test_a_calibrated_error_is_the_likelihood_of_the_best_gaussian() -> None:
    torch.manual_seed(0)
    images, mean = torch.rand(3, 3, 64, 64), torch.zeros(3, 4)
    made = (images + 0.1 * torch.randn_like(images)).requires_grad_()
    size = images[0].numel()
    best = torch.distributions.Normal(images, (images - made).square().mean().sqrt().detach())
    (expected,) = torch.autograd.grad(-best.log_prob(made).sum() / 3, made)
    loss = vae_loss(images, made, mean, mean, error="calibrated")
    floor = 2  # of the KL; the squares of a unit Gaussian come on top
    assert float(loss.detach()) == pytest.approx(size / 2 + floor)
    (found,) = torch.autograd.grad(loss, made)
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_a_residual_v_draws_the_mean_picture_without_learning() -> None:
    torch.manual_seed(0)
    page = torch.rand(3, 64, 64)
    images = page.repeat(8, 1, 1, 1)
    for index in range(8):
        images[index, :, 4 * index : 4 * index + 4, 30:34] = 1 - page[:, 4 * index : 4 * index + 4, 30:34]
    vision = ResidualVAE(ResidualVAEConfig(4, (4, 4, 8, 8)))
    vision.prepare(images)
    torch.testing.assert_close(vision.page, images.mean(0))
    assert float(vision.spread) == pytest.approx(float((images - images.mean(0)).square().mean().sqrt()))
    made, _, _ = vision(images, torch.randn(8, 4))
    assert float((made - vision.page).abs().mean()) < float(vision.spread)
    drawn = vision.decode(1000 * torch.randn(2, 4))
    assert drawn.min() == 0 and drawn.max() == 1


def test_objects_and_errors_weigh_more() -> None:
    objects = torch.zeros(2, 2, 64, 64, dtype=torch.bool)
    objects[0, 0, 10:12, 10:12] = objects[0, 1, 11:13, 11:13] = True
    weight = object_weight(objects, torch.tensor([8.0, 24.0]))
    assert weight.shape == (2, 1, 64, 64)
    assert [float(weight[0, 0, at, at]) for at in (9, 11, 13, 14)] == [9, 25, 25, 1]
    assert torch.equal(weight[1], torch.ones(1, 64, 64))
    images = torch.full((1, 3, 64, 64), 0.2)
    wrong = images.clone()
    wrong[:, :, 30:34, 30:34] = 0.7
    weight = error_weight(images, wrong, 20.0)
    assert float(weight.mean()) == pytest.approx(1, rel=1e-5)
    assert float(weight[0, 0, 32, 32]) > 5 * float(weight[0, 0, 5, 5])


def test_a_vae_gan_keeps_its_gradients_apart() -> None:
    torch.manual_seed(0)
    vision = ConvVAE(ConvVAEConfig(4, (4, 4, 8, 8)))
    optimizer = torch.optim.Adam(vision.parameters(), 0.0)
    images = torch.rand(6, 3, 64, 64)

    def gradients(gamma: float) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        torch.manual_seed(1)
        adversary = Adversary(vision, gamma, 1.0, 2.0, 0.0)
        adversary.train_batch(images, optimizer, torch.Generator().manual_seed(0))
        parts = adversary.encoder, adversary.decoder, list(adversary.network.parameters())
        return tuple([each.grad.clone() for each in part] for part in parts)  # type: ignore[return-value]

    little, much = gradients(0.01), gradients(1.0)
    for part, changes in zip(range(3), (False, True, False), strict=True):
        same = all(torch.equal(a, b) for a, b in zip(little[part], much[part], strict=True))
        assert same != changes, "gamma weighs the error of the decoder alone"
    assert all(bool(each.any()) for part in little for each in part)
