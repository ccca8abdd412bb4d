"""Nothing in a step waits for a GPU: no number of a tensor is read between two rows of the log."""

from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jrsr_core.models.fixed_point import FixedPointSettings, solve_fixed_point
from jrsr_core.tensors import without_waiting
from tests.training.conftest import tiny
from training.runs import fit
from training.runs.checkpoint import read_checkpoint
from training.runs.networks import build as networks
from training.runs.run import Run

READS = {
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::nonzero",
    "aten::masked_select",
    "aten::equal",
    "aten::_linalg_check_errors",
    "aten::unique_dim",
}
"""Operations whose result the Python side, or the size of an array, depends on."""


class Reads(TorchDispatchMode):
    """Collects the operations of `READS`."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if name in READS:
            self.found.append(name)
        if name == "aten::index" and any(i is not None and i.dtype == torch.bool for i in args[1]):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let a run on the CPU compute as it does on a GPU; return the reads of its steps."""
    reads = Reads()

    @contextmanager
    def not_waiting(self):
        with without_waiting(), reads:
            yield

    def fused(network, config):
        return torch.optim.Adam(network.parameters(), config.optimizer.learning_rate, fused=True)

    monkeypatch.setattr(Run, "not_waiting", not_waiting)
    monkeypatch.setattr(networks, "_adam", fused)
    return reads


@pytest.mark.parametrize("warm_start", [True, False])
@pytest.mark.parametrize("model", ["jrsr-dc", "jrsr"])
def test_a_step_reads_no_number(scans, tmp_path, as_on_a_gpu, model, warm_start):
    config = tiny(
        scans,
        tmp_path,
        model=model,
        steps=4,
        fixed_point__warm_start=warm_start,
        fixed_point__max_iterations=6,
        machine__precision="bf16-mixed",
    )
    fit(config)
    assert as_on_a_gpu.found == []


def test_the_collector_finds_reads():
    with Reads() as reads:
        bool(torch.ones(2).all())
        float(torch.ones(()))
        torch.nonzero(torch.ones(2))
    assert len(reads.found) == 3


def test_a_bad_gradient_changes_nothing_on_the_device_either(scans, tmp_path, as_on_a_gpu):
    with Run(tiny(scans, tmp_path, model="jrsr-dc", steps=3)) as run:
        batches = run.batches()
        learner, before = run.networks.generator, None
        for factor in (1.0, float("nan")):
            names, scan = next(batches)
            with run.not_waiting():
                output, truth = run.predict(names, scan)
                loss = factor * (output.image - truth.target).abs().mean()
                finite = run.update(loss, learner)
            run.finish_step({"pix": loss}, output, finite)
            after = [p.detach().clone() for p in learner.network.parameters()]
            after += [v for s in learner.optimizer.state.values() for v in s.values()]
            after = [v.clone() for v in after]
            if before is not None:
                assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
            before = after
        assert run.state.bad == 1
        batches.close()


def test_the_log_is_the_same(scans, tmp_path, as_on_a_gpu, monkeypatch):
    # The only differences are those of the iteration: no early end.
    changes = {"model": "jrsr-dc", "steps": 3, "log__every": 3}
    fit(tiny(scans, tmp_path / "gpu", **changes))
    gpu = read_checkpoint(tmp_path / "gpu")[1]
    assert gpu.step == 3 and gpu.bad == 0 and gpu.seconds > 0


def contraction(rate):
    """A map whose samples converge at rates of their own, to 1."""

    def step(x):
        return 1 + rate[:, None, None] * (x - 1)

    return step


@pytest.mark.parametrize("solver", ["picard", "anderson"])
def test_a_sample_that_has_converged_leaves_the_batch(solver):
    # Alone a solve ends with the tolerance; in a batch it must not go on because others do.
    rates = torch.tensor([0.1, 0.5, 0.9, -0.7])
    torch.manual_seed(1)
    start = torch.randn(4, 6, 5, dtype=torch.complex64)
    rates = rates * (1 + 0.1j * torch.arange(4))
    settings = FixedPointSettings(solver, n_iter=25, tolerance=1e-3)
    with without_waiting():
        together, report = solve_fixed_point(contraction(rates), start, settings)
    assert report.iterations == 25
    for i in range(4):
        alone, one = solve_fixed_point(contraction(rates[i : i + 1]), start[i : i + 1], settings)
        torch.testing.assert_close(together[i : i + 1], alone)
        torch.testing.assert_close(report.residual[i], one.residual[0])


def test_a_sample_that_diverges_leaves_the_others_alone():
    rates = torch.tensor([0.5, 1e30]).to(torch.complex64)
    start = torch.randn(2, 4, 4, dtype=torch.complex64)
    settings = FixedPointSettings("anderson", n_iter=12, tolerance=1e-4)
    with without_waiting():
        x, _ = solve_fixed_point(contraction(rates), start, settings)
    assert torch.isfinite(x[0].abs()).all()
    torch.testing.assert_close(x[0], torch.ones_like(x[0]), atol=1e-3, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("model", ["jrsr-dc", "jrsr"])
def test_a_step_does_not_synchronise(scans, tmp_path, model, monkeypatch):
    found = []

    @contextmanager
    def strict(self):
        torch.cuda.set_sync_debug_mode("error" if self.state.step else "default")
        try:
            with without_waiting():
                yield
        except RuntimeError as error:
            found.append(str(error))
            raise
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Run, "not_waiting", strict)
    changes = {"device": "cuda", "machine__precision": "bf16-mixed", "log__every": 10}
    fit(tiny(scans, tmp_path, model=model, steps=6, fixed_point__warm_start=True, **changes))
    assert found == []
