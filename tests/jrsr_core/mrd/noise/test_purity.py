"""Samples of noise lines: noise is kept, spikes and padding are left out, signal is found."""

import numpy as np
import pytest

from jrsr_core.mrd.noise.purity import pure_noise, without_padding

LENGTH = 256
TIME = np.arange(LENGTH)


def noise(n_coils=8, n_lines=8, seed=0):
    """White noise ``(coil, sample)`` of correlated coils."""
    values = np.random.default_rng(seed).normal(size=(2, n_coils, n_lines * LENGTH))
    own = values[0] + 1j * values[1]
    return (own + 2 * own[:1]).astype(np.complex64)


@pytest.mark.parametrize("n_coils", [1, 2, 32])
@pytest.mark.parametrize("n_lines", [1, 64])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_noise_is_kept_as_it_is(n_coils, n_lines, scale):
    samples = noise(n_coils, n_lines) * np.float32(scale)
    assert pure_noise(samples) is samples


def test_noise_under_a_filter_is_kept():
    """The outer tenth of the band on either side is rolled off, as by a digital filter."""
    share = np.abs(np.fft.fftfreq(8 * LENGTH)) / 0.5
    band = np.interp(share, [0.8, 1], [1, 0])
    samples = np.fft.ifft(np.fft.fft(noise()) * band).astype(np.complex64)
    assert pure_noise(samples) is samples


def test_channels_without_noise_do_not_count():
    samples = noise()
    samples[[1, 4]] = 0
    assert pure_noise(samples) is samples


@pytest.mark.parametrize("amplitude", [20, 1e4])
def test_spikes_are_left_out(amplitude):
    samples = noise()
    spoiled = samples.copy()
    spoiled[:, [7, 700]] = amplitude * np.abs(samples).mean()
    np.testing.assert_array_equal(pure_noise(spoiled), np.delete(samples, [7, 700], 1))


@pytest.mark.parametrize(("before", "after"), [(0, 60), (20, 0), (40, 500)])
def test_padding_is_left_out(before, after):
    line = noise(n_lines=1)
    padded = np.pad(line, ((0, 0), (before, after)))
    np.testing.assert_array_equal(without_padding(padded), line)
    assert without_padding(np.pad(line, ((0, 0), (3, 5)))).shape == (8, LENGTH + 8)
    assert without_padding(np.zeros_like(line)).shape == line.shape


SIGNALS = {
    "echo": np.exp(-(((TIME - LENGTH // 2) / 20) ** 2)),
    "free induction decay": np.exp(-TIME / 60 + 0.4j * TIME),
    "one frequency": np.exp(1.1j * TIME),
    "offset": np.ones(LENGTH),
    "pulses": np.where(TIME % 10 == 0, 30, 0),
}


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("strength", [3, 30])
def test_signal_is_found(kind, strength):
    """Of six times the amplitude of the noise at its strongest, or far above it."""
    samples = noise(seed=1)
    own = 2 * strength * np.abs(samples).mean(1, keepdims=True)
    assert pure_noise((samples + own * np.tile(SIGNALS[kind], 8)).astype(np.complex64)) is None
