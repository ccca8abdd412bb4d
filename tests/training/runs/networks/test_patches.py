"""Patch-wise training: the gradient of whole images, exactly or on average, and what it trains."""

import pytest
import torch

from tests.training.conftest import prepared, tiny, write_images
from training.config import RunConfig
from training.runs import adversarial, supervised
from training.runs.log import read_log
from training.runs.networks.patches import patch_output
from training.runs.run import Run


def gradients(run, patch):
    """Gradient of the supervised loss on the first batch."""
    names, scan = next(iter(run.batches()))
    config = run.config
    run.networks.model.zero_grad(set_to_none=True)
    if patch:
        output, scan, _ = patch_output(run.networks.model, scan, config.patch, run.rng)
    else:
        output = run.networks.model(scan.kspace, scan.sense, scan.noise_std)
    loss = (output.image - scan.target.abs()).abs().mean()
    loss = loss + (output.low_resolution - scan.lr_target).abs().mean()
    loss.backward()
    assert len(names) == config.optimizer.batch
    return loss.detach(), {n: p.grad for n, p in run.networks.model.named_parameters()}


def moved_weights(model):
    """Weights away from their special start, where many gradients vanish."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator))


@pytest.mark.parametrize("model", ["jrsr", "t2net"])
@pytest.mark.parametrize("shape", [(64, 72), (62, 70)], ids=["even", "odd"])
def test_a_patch_as_large_as_the_image_gives_the_same_gradient(
    tmp_path, monkeypatch, shape, model, opened_run
):
    monkeypatch.setattr("tests.training.conftest.SIZE", shape)
    data = prepared(write_images(tmp_path / "stack.h5"), tmp_path / "scans", "brain-5x")
    run = opened_run(tiny(data, tmp_path / "run", patch__size=64, model=model))
    moved_weights(run.networks.model)
    whole, patch = gradients(run, False), gradients(run, True)
    assert torch.allclose(whole[0], patch[0], rtol=1e-4)
    for name, gradient in whole[1].items():
        scale = float(gradient.abs().max())
        assert torch.allclose(gradient, patch[1][name], atol=1e-3 * scale + 1e-8), name


def test_patches_give_the_gradient_of_whole_images_on_average(scans, tmp_path, opened_run):
    run = opened_run(tiny(scans, tmp_path, patch__size=26, patch__margin=6))
    moved_weights(run.networks.model)
    _, whole = gradients(run, False)
    name = "sr.conv_up.weight"
    parts = []
    _, scan = next(iter(run.batches()))
    for seed in range(24):
        run.networks.model.zero_grad(set_to_none=True)
        generator = torch.Generator().manual_seed(seed)
        output, truth, points = patch_output(run.networks.model, scan, run.config.patch, generator)
        assert output.image.shape[-1] < scan.target.shape[-1]
        assert points.shape == scan.lr_target.shape
        (output.image - truth.target.abs()).abs().mean().backward()
        parts.append(run.networks.model.get_parameter(name).grad.clone())
    mean = torch.stack(parts).mean(0).flatten()
    cosine = torch.nn.functional.cosine_similarity(mean, whole[name].flatten(), dim=0)
    assert float(cosine) > 0.8


def test_patches_train_a_small_case_like_whole_images(scans, tmp_path):
    changes = {
        "steps": 30,
        "optimizer__learning_rate": 3e-3,
        "fixed_point__warm_start": True,
        "log__every": 30,
    }
    changes |= {
        "log__validate_every": 30,
        "fixed_point__later_iterations": 3,
        "optimizer__ema": 0.5,
        "optimizer__schedule": "constant",
    }
    figures = {}
    for name, patch in (("start", 0), ("whole", 0), ("patch", 24)):
        steps = 1 if name == "start" else changes["steps"]
        rate = 1e-12 if name == "start" else changes["optimizer__learning_rate"]
        here = {
            **changes,
            "steps": steps,
            "optimizer__learning_rate": rate,
            "log__validate_every": steps,
        }
        config: RunConfig = tiny(scans, tmp_path / name, patch__size=patch, patch__margin=4, **here)
        supervised.fit(config)
        figures[name] = read_log(tmp_path / name)[-1]["val_psnr"]
    assert figures["whole"] > figures["start"] + 0.5
    assert figures["patch"] > figures["start"] + 0.5 * (figures["whole"] - figures["start"])


def test_patches_train_with_a_discriminator_that_sees_hr_images_alone(scans, tmp_path):
    changes = {"loop": "adversarial", "loss__adv": 0.1, "patch__size": 26, "patch__margin": 6}
    config = tiny(scans, tmp_path / "run", steps=2, log__every=1, **changes)
    adversarial.fit(config)
    assert all(row["adv"] > 0 and row["discriminator"] > 0 for row in read_log(tmp_path / "run"))
    for setting in ({"network": "medsrgan"}, {"flat_threshold": 0.1}):
        own = {f"loss__discriminator__{k}": v for k, v in setting.items()}
        with pytest.raises(ValueError, match=r"patch\.size is for losses that compare HR images"):
            Run(tiny(scans, tmp_path / str(setting), **changes, **own))
