"""A step without a finite gradient leaves running statistics as they were."""

import pytest
import torch
from torch import nn

import jrsr_core as jrsr
from jrsr_core.models.interfaces import UpsampleModel
from jrsr_core.models.interpolation import BicubicUpsample
from tests.training.conftest import tiny
from training.errors import TrainingDiverged
from training.losses.objective import Pair
from training.runs import adversarial, fit
from training.runs.checkpoint import part, read_checkpoint
from training.runs.log import read_log
from training.runs.run import Run

pytestmark = pytest.mark.usefixtures("own_networks")


class NormNet(UpsampleModel):
    """Bicubic interpolation and a normalised residual; the forward pass number `bad` overflows."""

    bad = 2

    def __init__(self):
        super().__init__()
        self.bicubic, self.n_calls = BicubicUpsample(), 0
        layers = (nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3, padding=1))
        self.residual = nn.Sequential(*layers)

    def forward(self, image):
        up = self.bicubic(image)
        self.n_calls += self.training
        if self.training and self.n_calls == self.bad:
            up = up * float("inf")
        return up + self.residual(up[:, None])[:, 0]


def test_one_overflow_leaves_the_statistics_and_the_run_goes_on(scans, tmp_path, monkeypatch):
    jrsr.register_model("norm-net", NormNet)
    noted = []

    class Watched(Run):
        def finish_step(self, terms, output, finite):
            norm = self.networks.model.upsample.residual[1]
            noted.append((bool(finite), norm.running_mean.clone(), int(norm.num_batches_tracked)))
            super().finish_step(terms, output, finite)

    monkeypatch.setattr("training.runs.supervised.Run", Watched)
    config = tiny(scans, tmp_path, steps=4, model="cg-sense+norm-net", log__validate_every=4)
    fit(config)
    average = part(read_checkpoint(tmp_path)[0], "average")
    assert [finite for finite, *_ in noted] == [True, False, True, True]
    assert [n for *_, n in noted] == [1, 1, 2, 3]
    means = [mean for _, mean, _ in noted]
    assert torch.equal(means[0], means[1]) and not torch.equal(means[1], means[2])
    assert torch.equal(average["upsample.residual.1.running_mean"], means[3])
    assert 5 < read_log(tmp_path)[-1]["val_psnr"] < 60


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_the_discriminator_is_left_as_it_was_too(scans, tmp_path, monkeypatch, norm):
    before, n_calls = adversarial.magnitudes, 0

    def overflowing(output, scan):
        nonlocal n_calls
        n_calls += 1
        pair = before(output, scan)
        bad = Pair(pair.image * float("nan"), pair.target, pair.zero_filled)
        return pair if n_calls <= 2 else bad

    changes = {"loop": "adversarial", "loss__adv": 1e-2, "optimizer__schedule": "constant"}
    changes["loss__discriminator__norm"] = norm
    fit(tiny(scans, tmp_path / "good", steps=2, **changes))
    monkeypatch.setattr(adversarial, "magnitudes", overflowing)
    words = r"3 steps in a row .* up to step 5; the last good state is in checkpoint.safetensors$"
    with pytest.raises(TrainingDiverged, match=words):
        fit(tiny(scans, tmp_path / "bad", steps=9, **changes))
    good, bad = (read_checkpoint(tmp_path / name)[0] for name in ("good", "bad"))
    assert good.keys() == bad.keys()
    assert all(torch.equal(value, bad[key]) for key, value in good.items())
    assert read_checkpoint(tmp_path / "bad")[1].step == 5


@pytest.mark.parametrize(
    ("saved", "words"),
    [(False, "there is no checkpoint.safetensors yet"), (True, "holds the state of step 1")],
)
def test_the_message_says_what_is_on_disk(scans, tmp_path, saved, words, opened_run):
    run = opened_run(tiny(scans, tmp_path, steps=9))
    if saved:
        run.state.step = 1
        run.save()
    run.state.step, run.state.bad = 6, 3
    next(run.networks.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match=f"; .*{words}$"):
        run._give_up()
    assert (tmp_path / "checkpoint.safetensors").exists() == saved
