"""`jrsr recon` and `jrsr check`: the whole way from file to file."""

import h5py
import ismrmrd
import numpy as np
import pytest

from tests.helpers.commands import FAST, NO_WEIGHTS, jrsr, write_small_scan
from tests.helpers.mrd_scans import FOV_MM, geometry_of, noise_samples, small_scan
from tests.helpers.processes import needs, run_process

GENERATOR = "ismrmrd_generate_cartesian_shepp_logan"


def images_of(path, series: int = 1) -> list[ismrmrd.Image]:
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=False) as dataset:
        group = f"image_{series}"
        return [dataset.read_image(group, i) for i in range(dataset.number_of_images(group))]


def pixels(path, series: int = 1) -> np.ndarray:
    return np.stack([image.data[0, 0] for image in images_of(path, series)])


def root_sum_of_squares(kspace: np.ndarray) -> np.ndarray:
    """(coil, ky, kx) -> magnitude on the same grid, by numpy alone."""
    axes = (-2, -1)
    coils = np.fft.fftshift(
        np.fft.ifft2(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho"), axes
    )
    return np.sqrt((np.abs(coils) ** 2).sum(0))


def to_low_resolution(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Magnitude after a crop of k-space to `shape`."""
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))
    start = [n // 2 - m // 2 for n, m in zip(image.shape, shape, strict=True)]
    centre = spectrum[start[0] : start[0] + shape[0], start[1] : start[1] + shape[1]]
    return np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(centre))))


@pytest.mark.parametrize("shape", [(48, 64), (47, 63)])
def test_image_is_the_scan_on_a_finer_grid(shape, tmp_path, capfd):
    kspace, _, _, _ = small_scan(shape)
    write_small_scan(tmp_path / "scan.h5", shape=shape)
    outcome = jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST)
    assert outcome.code == 0, outcome.err
    (image,) = images_of(tmp_path / "scan_jrsr.h5")
    assert image.data.shape == (1, 1, 2 * shape[0], 2 * shape[1])
    assert geometry_of(image).fov_mm == pytest.approx(FOV_MM)
    expected = root_sum_of_squares(kspace[0].numpy())
    ours = to_low_resolution(image.data[0, 0], shape)
    inside = expected > 0.2 * expected.max()
    assert np.corrcoef(ours[inside], expected[inside])[0, 1] > 0.98


def test_slices_come_in_order_with_their_positions(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", n_slices=3, acceleration=2, noise=noise_samples())
    outcome = jrsr(capfd, "recon", tmp_path / "scan.h5", "-o", tmp_path / "out.h5", *FAST)
    assert outcome.code == 0, outcome.err
    images = images_of(tmp_path / "out.h5")
    assert [i.slice for i in images] == [0, 1, 2]
    assert [i.image_index for i in images] == [1, 2, 3]
    assert [i.position[2] for i in images] == pytest.approx([0.0, 5.0, 10.0])
    assert images[0].meta["JRSR_acquired_matrix"] == ["48", "64"]


def test_phase_oversampling_is_removed(tmp_path, capfd):
    def wider(xml, lines):
        # The encoded field of view is half as wide again as the one wanted along y.
        new = xml.replace("<y>200</y>", "<y>300</y>", 1)
        assert new != xml
        return new, lines

    write_small_scan(tmp_path / "scan.h5", wider)
    assert jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST).code == 0
    (image,) = images_of(tmp_path / "scan_jrsr.h5")
    # Lines are 6.25 mm apart then, samples 3.44 mm: the readout is HR already, and stays so.
    assert image.data.shape == (1, 1, 64, 70)
    assert geometry_of(image).fov_mm == pytest.approx(FOV_MM)


def test_picture_and_folder_of_scans(tmp_path, capfd):
    for name in ("a", "b"):
        write_small_scan(tmp_path / f"{name}.h5")
    arguments = ("recon", tmp_path, "-o", tmp_path / "out", "--format", "png,mrd", *FAST)
    assert jrsr(capfd, *arguments).code == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["a_jrsr.h5", "a_jrsr.png", "b_jrsr.h5", "b_jrsr.png"]
    again = jrsr(capfd, "recon", tmp_path / "out", *FAST)
    assert again.code == 2 and "no ISMRMRD scans" in again.err


CHANGES = {
    "model": "cg-sense+bicubic",
    "n_virtual_coils": "2",
    "kernel_width": "5",
    "threshold": "0.1",
    "crop": "0.99",
    "prewhiten": "false",
    "output": "complex",
    "series_index": "7",
}


@pytest.fixture(scope="module")
def noisy_scan(tmp_path_factory):
    """A scan on which every option matters, and its default images."""
    folder = tmp_path_factory.mktemp("options")
    write_small_scan(
        folder / "scan.h5", acceleration=2, n_coils=6, noise=5 * noise_samples(n_coils=6)
    )
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_every_option_changes_the_output(name, noisy_scan, tmp_path, capfd):
    pairs = {"model": "cg-sense+sinc", "kernel_width": "4"}
    results = []
    for i, values in enumerate((pairs, pairs | {name: CHANGES[name]})):
        path = tmp_path / f"{i}.h5"
        options = [x for k, v in values.items() for x in ("--set", f"{k}={v}")]
        outcome = jrsr(capfd, "recon", noisy_scan / "scan.h5", "-o", path, *options)
        assert outcome.code == 0, outcome.err
        with h5py.File(path) as file:
            (group,) = (k for k in file["dataset"] if k.startswith("image_"))
            data = file[f"dataset/{group}/data"][()]
            results.append((group, data.dtype, data.tobytes()))
    assert results[0] != results[1]


def test_denoise_changes_the_output_and_its_comment(noisy_scan, tmp_path, capfd):
    results = []
    for denoise in ("0", "1"):
        path = tmp_path / f"{denoise}.h5"
        options = ("--model", "cg-sense+sinc+dc", "--set", f"denoise={denoise}")
        outcome = jrsr(capfd, "recon", noisy_scan / "scan.h5", "-o", path, *options)
        assert outcome.code == 0, outcome.err
        results.append(path.read_bytes())
    assert results[0] != results[1]
    assert b"Measured noise removed (denoise 1)" in results[1]
    assert b"Measured noise removed" not in results[0]
    options = ("--model", "cg-sense+sinc", "--set", "denoise=1")
    outcome = jrsr(capfd, "recon", noisy_scan / "scan.h5", "-o", tmp_path / "no.h5", *options)
    assert outcome.code == 2 and "denoise is 1, but only jrsr-dc and" in outcome.err


def test_check_says_what_recon_does(tmp_path, capfd):
    write_small_scan(tmp_path / "s.h5", n_slices=2, acceleration=2, noise=noise_samples())
    outcome = jrsr(capfd, "check", tmp_path / "s.h5", *FAST)
    assert outcome.code == 0 and outcome.err == ""
    for words in (
        "2 (2 slices)",
        "16 noise",
        "embedded: ACS 17 x 64 from the centre of each image",
        "from the noise lines",
        "cg-sense+sinc: 48 x 64 -> 96 x 128, 4 virtual coils",
    ):
        assert words in outcome.out
    assert len(outcome.out.splitlines()) < 25


@needs(GENERATOR)
@pytest.mark.parametrize(
    ("options", "n_images"),
    [
        ("", 1),
        ("-a 2 -w 24", 2),
        ("-r 2", 2),
        ("-C -n 0.05", 1),
        ("-k", 1),
    ],
)
def test_files_of_the_shepp_logan_generator(options, n_images, tmp_path, capfd):
    path = tmp_path / "gen.h5"
    run_process(
        [GENERATOR, "-m", "64", "-c", "6", *options.split(), "-o", str(path)],
        check=True,
    )
    outcome = jrsr(capfd, "recon", path, *NO_WEIGHTS)
    assert outcome.code == 0, outcome.err
    images = images_of(tmp_path / "gen_jrsr.h5")
    assert len(images) == n_images
    assert [i.repetition for i in images] == list(range(n_images))
    with h5py.File(path) as file:
        truth = np.abs(file["dataset/phantom"][0].view(np.complex64))
    for image in images:
        assert image.data.shape[-2:] == (128, 128)
        ours = to_low_resolution(image.data[0, 0], (64, 64))
        assert np.corrcoef(ours.ravel(), truth.ravel())[0, 1] > 0.95
