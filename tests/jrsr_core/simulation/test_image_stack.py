"""Image stacks: pixels as they were written, and every other layout named in one line."""

import h5py
import numpy as np
import pytest
import torch

from jrsr_core.simulation.image_stack import StackError, StackFile, StackLayoutError, load_image
from tests.helpers.image_stacks import write_damaged_stack

AXES = "expected (n, readout, phase encode)"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stack.h5"


def write(path, slices, subject=None, **attributes):
    """Write an image stack; an empty dict becomes a group."""
    with h5py.File(path, "w") as file:
        for name, content in (("slices", slices), ("subject", subject)):
            if isinstance(content, dict):
                file.create_group(name)
            elif content is not None:
                file[name] = content
        file.attrs.update(attributes)


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        (None, "no data set 'slices', found []"),
        ({}, f"'slices' is a group, {AXES}"),
        (1.0, f"'slices' is (), {AXES}"),
        (h5py.Empty("f4"), f"'slices' is (), {AXES}"),
        (np.ones((8, 6)), f"'slices' is (8, 6), {AXES}"),
        (np.ones((1, 8, 6, 2)), f"'slices' is (1, 8, 6, 2), {AXES}"),
        (np.ones((1, 0, 6)), f"'slices' is (1, 0, 6), {AXES}"),
        (np.full((1, 8, 6), b"x"), "'slices' is an array of |S1, expected an array of numbers"),
    ],
)
def test_other_layouts_are_named(slices, words, path):
    write(path, slices)
    with pytest.raises(StackLayoutError) as caught:
        load_image(path, 0)
    assert str(caught.value) == f"{path}: {words}"


@pytest.mark.parametrize(
    ("subject", "words"),
    [({}, "a group"), (b"a", "()"), ([b"a"], "(1,)"), (np.ones((2, 1)), "(2, 1)")],
)
def test_subjects_are_one_per_slice(subject, words, path):
    write(path, np.ones((2, 8, 6)), subject)
    with pytest.raises(StackLayoutError) as caught:
        load_image(path, 0)
    assert str(caught.value) == f"{path}: 'subject' is {words}, expected (2,): one per slice"


def test_a_stack_is_read_as_it_was_written(path):
    pixels = np.random.default_rng(0).random((2, 8, 6), np.float32)
    write(path, pixels, np.array([7, 12]), pixel_mm=0.9)
    with h5py.File(path) as file:
        stack = StackFile(file)
        assert (len(stack), stack.subjects(), stack.pixel_mm()) == (2, ["7", "12"], 0.9)
        assert np.array_equal(stack.stored(1), pixels[1])
        assert torch.equal(stack.read(1), torch.from_numpy(pixels[1].T))
        with pytest.raises(ValueError, match="slice 2 asked for, the file has 2"):
            stack.read(2)
    write(path, 4 * pixels, pixel_mm=(0.9, 1.0))
    expected = torch.from_numpy(pixels[0].T / pixels[0].max())
    torch.testing.assert_close(load_image(path, 0), expected)
    with h5py.File(path) as file:
        assert (StackFile(file).subjects(), StackFile(file).pixel_mm()) == (["stack"] * 2, None)


def test_pixels_that_hdf5_cannot_decompress_are_named(path):
    write_damaged_stack(path)
    with pytest.raises(StackError, match="HDF5 cannot read it, the file may be cut off") as caught:
        load_image(path, 0)
    assert not isinstance(caught.value, StackLayoutError)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 1j * np.inf])
def test_pixels_that_are_not_finite_in_float32_are_named(value, path):
    """A negative infinity is no small negative value that padding leaves, and not taken for 0."""
    slices = np.ones((3, 8, 6), np.asarray(value).dtype)
    slices[1, 2, 3] = value
    write(path, slices)
    assert load_image(path, 2).max() == 1
    with pytest.raises(StackError) as caught:
        load_image(path, 1)
    words = "slice 1: values are NaN or infinite: leave it out, or repair it"
    assert str(caught.value) == f"{path}: {words}"
