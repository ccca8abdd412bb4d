"""CG-SENSE against other programs on the same maps: sigpy, BART, and dense algebra."""

import warnings

import numpy as np
import pytest
import torch

from jrsr_core.models.cg_sense import CgSense
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from tests.helpers.processes import needs, run_process

LAMBDA = 0.02
CASES = [(48, 40), (45, 39)]


def problem(shape):
    """k-space of one slice and the operator on the acquired grid."""
    hr = tuple(2 * n for n in shape)
    simulated = simulate_protocol(
        "brain-5x", brain_phantom(hr), n_coils=5, n_acs=8, acceleration=2.2
    )
    sense = SenseOperator(simulated.csm[None], simulated.mask).at_low_resolution()
    kspace = simulated.kspace[None]
    return kspace / sense.adjoint(kspace).abs().max(), sense


def relative(ours, other):
    return float(torch.linalg.vector_norm(ours - other) / torch.linalg.vector_norm(other))


def converged(kspace, sense):
    return CgSense(regularisation=LAMBDA, n_iter=300)(kspace, sense)[0]


@pytest.mark.parametrize("shape", CASES, ids=str)
def test_equals_sigpy(shape):
    kspace, sense = problem(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = pytest.importorskip("sigpy.mri.app")
        other = app.SenseRecon(
            kspace[0].numpy(),
            sense.csm[0].numpy(),
            lamda=LAMBDA,
            weights=sense.mask.numpy(),
            max_iter=300,
            show_pbar=False,
        ).run()
    assert relative(converged(kspace, sense), torch.from_numpy(np.asarray(other))) < 1e-3


def write_cfl(path, array):
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))}\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


@needs("bart")
@pytest.mark.parametrize("shape", [(48, 40), (40, 52)], ids=str)  # its origin differs on odd sizes
def test_equals_bart(shape, tmp_path):
    kspace, sense = problem(shape)
    for name, array in (("kspace", kspace[0]), ("maps", sense.csm[0])):
        write_cfl(tmp_path / name, array.permute(1, 2, 0)[:, :, None].numpy())
    # -w 1: the data are not rescaled, so that lambda means the same.
    options = f"-l2 -r {LAMBDA} -i 300 -w 1".split()
    command = ["bart", "pics", *options, "kspace", "maps", "image"]
    run_process(command, cwd=tmp_path, check=True)
    flat = np.fromfile(tmp_path / "image.cfl", dtype=np.complex64)
    other = torch.from_numpy(flat[: np.prod(shape)].reshape(shape, order="F"))
    assert relative(converged(kspace, sense), other) < 1e-3


def test_equals_dense_algebra():
    kspace, sense = problem((20, 18))
    identity = torch.eye(360, dtype=torch.complex64).reshape(360, 20, 18)
    gram = sense.gram(identity).reshape(360, 360).T + LAMBDA * torch.eye(360)
    exact = torch.linalg.solve(gram, sense.adjoint(kspace).reshape(-1)).reshape(20, 18)
    assert relative(converged(kspace, sense), exact) < 1e-3
