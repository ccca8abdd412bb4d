"""NIfTI stacks: one even grid in each file, and slices that are no frames of one place."""

import nibabel
import numpy as np
import pytest

from gadget.output.nifti.writer import NiftiWriter
from gadget.output.options import OutputOptions
from gadget.output.series.even_runs import even_runs
from tests.helpers.other_images import an_image, classic, enhanced


def written(folder, images, xml="<ismrmrdHeader/>"):
    """Shape, first slice position, slice distance and values along z of every file."""
    with NiftiWriter(folder / "a.nii.gz", xml, OutputOptions(overwrite=True)) as writer:
        for image in images:
            writer.write(image)
    # The file without a suffix is the first one.
    paths = sorted(folder.glob("a*.nii.gz"), key=lambda p: (len(p.name), p.name))
    return [nibabel.load(path) for path in paths]


def z_of(image):
    return [float((image.affine @ [0, 0, k, 1])[2]) for k in range(image.shape[2])]


def slices_at(places, **fields):
    """One image per place, of a value of its own; `fields` by place."""
    return [
        an_image(
            float(i + 1),
            place=place,
            slice=i,
            image_index=i + 1,
            **{k: v[i] for k, v in fields.items()},
        )
        for i, place in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("places", "runs"),
    [
        ([0, 5, 10, 15], [4]),
        ([0, 5.2, 10, 15.1, 20], [5]),
        ([0, 5, 10, 100, 105, 110], [3, 3]),
        ([0, 50, 55, 60], [1, 3]),
        ([0, 5, 10, 60], [3, 1]),
        ([0, 5, 15, 20], [2, 2]),
        ([0, 5, 10, 13, 16, 19], [3, 3]),
        ([0, 10, 15, 25, 30], [1, 2, 2]),
        ([7], [1]),
        ([0, 100], [2]),
    ],
)
def test_even_runs(places, runs):
    points = np.array([(0.0, 0.0, z) for z in places])
    found = [points[run] for run in even_runs(points)]
    assert [len(run) for run in found] == runs
    np.testing.assert_array_equal(np.concatenate(found), points)


@pytest.mark.parametrize("side", [1, -1], ids=["right-handed", "left-handed"])
def test_one_slice_has_the_handedness_of_several(tmp_path, side):
    """The third axis is the normal of rows and columns, whichever way the slice direction is."""
    row, column = (0.6, 0.8, 0.0), (0.0, 0.0, -1.0)
    normal = np.cross(row, column)
    axes = (row, column, tuple(side * normal))
    images = [an_image(place=6.0 * i, axes=axes, slice=i, image_index=i + 1) for i in range(3)]
    for n_slices, distance in ((1, 5.0), (3, 6.0)):
        folder = tmp_path / str(n_slices)
        folder.mkdir()
        (made,) = written(folder, images[:n_slices])
        np.testing.assert_allclose(made.affine[:3, 2], distance * normal * (-1, -1, 1), atol=1e-6)
        assert np.linalg.det(made.affine) > 0


def test_groups_of_parallel_slices_have_a_file_each(tmp_path):
    made = written(tmp_path, slices_at([0, 5, 10, 100, 105, 110]))
    assert [z_of(image) for image in made] == [[0, 5, 10], [100, 105, 110]]
    assert [image.get_fdata()[0, 0].tolist() for image in made] == [[1, 2, 3], [4, 5, 6]]


def test_groups_beside_each_other_are_told_apart_by_their_place_in_the_plane(tmp_path):
    """Left and right knee: the slices of both interleave along their normal."""
    z = [0.0, 5.0, 10.0, 2.0, 7.0, 12.0]
    positions = [(-80.0 if i < 3 else 80.0, 0.0, mm) for i, mm in enumerate(z)]
    made = written(tmp_path, slices_at([0] * 6, position=positions))
    assert sorted(z_of(image) for image in made) == [[0, 5, 10], [2, 7, 12]]
    assert sorted(image.get_fdata()[0, 0].tolist() for image in made) == [[1, 2, 3], [4, 5, 6]]


def test_frames_of_two_groups_stay_together(tmp_path):
    images = [
        image
        for repetition in range(2)
        for image in slices_at([0, 5, 10, 100, 105, 110], repetition=[repetition] * 6)
    ]
    assert [image.shape for image in written(tmp_path, images)] == [(8, 6, 3, 2)] * 2


@pytest.mark.parametrize("distance", [100.0, 30.0, 15.0])
def test_slabs_have_a_file_each(tmp_path, distance):
    """Slabs of 4 partitions of 5 mm: apart, with a gap, and overlapping by one partition."""
    slabs = [
        an_image(float(s), shape=(4, 6, 8), place=s * distance, slice=s, image_index=s + 1)
        for s in range(2)
    ]
    made = written(tmp_path, slabs)
    first = np.arange(-10.0, 10.0, 5.0)
    assert [z_of(image) for image in made] == [list(first), list(first + distance)]
    for s, image in enumerate(made):
        assert (image.get_fdata() == s).all()


def test_slabs_that_follow_each_other_are_one_stack(tmp_path):
    slabs = [
        an_image(float(s), shape=(4, 6, 8), place=20.0 * s, slice=s, image_index=s + 1)
        for s in range(2)
    ]
    (image,) = written(tmp_path, slabs)
    assert z_of(image) == list(np.arange(-10.0, 30.0, 5.0))


def test_a_small_unevenness_is_a_mean_with_a_warning(tmp_path, capfd):
    (image,) = written(tmp_path, slices_at([0, 5.2, 10, 15]))
    assert z_of(image) == [0, 5, 10, 15]
    assert "slice distances differ by 4 %" in capfd.readouterr().err


def test_slices_without_positions_are_no_frames(tmp_path):
    images = slices_at([0, 0, 0])
    made = written(tmp_path, images)
    assert [image.shape for image in made] == [(8, 6, 1)] * 3
    assert [float(image.get_fdata()[0, 0, 0]) for image in made] == [1, 2, 3]
    for ds in classic(tmp_path, images):
        assert (ds.TemporalPositionIdentifier, ds.NumberOfTemporalPositions) == (1, 1)
    wholes = enhanced(tmp_path, images)
    assert [int(ds.NumberOfFrames) for ds in wholes] == [1, 1, 1]


def test_stations_are_stacks(tmp_path):
    """Two positions of the table, whose slices have the same positions."""
    images = slices_at([0, 5, 0, 5])
    made = written(tmp_path, images)
    assert [image.get_fdata()[0, 0].tolist() for image in made] == [[1, 2], [3, 4]]
    wholes = enhanced(tmp_path, images)
    assert [int(ds.NumberOfFrames) for ds in wholes] == [2, 2]


def test_repetitions_at_one_place_are_frames(tmp_path):
    images = [image for r in range(3) for image in slices_at([0, 0], repetition=[r] * 2)]
    for k, image in enumerate(images):
        image.image_index = k + 1
    assert [image.shape for image in written(tmp_path, images)] == [(8, 6, 1, 3)] * 2
    times = [ds.TemporalPositionIdentifier for ds in classic(tmp_path, images)]
    assert times == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("size", [(320, 240, 5), (160, 120, 7)])
def test_slices_of_other_voxels_are_no_slices_of_the_stack(tmp_path, size):
    """A larger field of view, a larger thickness, in the middle of a stack."""
    fields = [(160, 120, 5), size, (160, 120, 5)]
    images = slices_at([0, 6, 12], field_of_view=fields)
    found = [
        (z_of(image), [round(float(mm), 3) for mm in image.header.get_zooms()])
        for image in written(tmp_path, images)
    ]
    x, y, z = size
    assert found == [([0, 12], [20, 20, 12]), ([6], [x / 8, y / 6, z])]
    wholes = enhanced(tmp_path, images)
    spacings = [
        (ds.NumberOfFrames, float(measures.PixelSpacing[0]), float(measures.SliceThickness))
        for ds in wholes
        for measures in ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    ]
    assert spacings == [(2, 20, 5), (1, y / 6, z)]


DAY = 34_560_000
"""Ticks of 2.5 ms."""


def system(vendor):
    system = f"<systemVendor>{vendor}</systemVendor>"
    return (
        f"<ismrmrdHeader><acquisitionSystemInformation>{system}</acquisitionSystemInformation>"
        "</ismrmrdHeader>"
    )


@pytest.mark.parametrize(
    ("stamps", "counter", "vendor", "seconds"),
    [
        ([1000, 3560, 6120], "repetition", "SIEMENS", 6.4),
        ([1000, 3560, 6140], "repetition", "", 6.425),
        ([DAY - 1000, 1560, 4120], "repetition", "SIEMENS", 6.4),
        ([1000, 3560, 6820], "repetition", "SIEMENS", None),
        ([0, 2560, 5120], "repetition", "SIEMENS", None),
        ([1000, 1000, 1000], "repetition", "SIEMENS", None),
        ([1000, 3560, 6120], "repetition", "GE MEDICAL SYSTEMS", None),
        ([1000, 3560, 6120], "contrast", "SIEMENS", None),
        ([1000, 3560, 6120], "set", "SIEMENS", None),
    ],
)
def test_repetitions_have_their_distance_in_time(tmp_path, stamps, counter, vendor, seconds):
    images = [
        an_image(1.0 + i, image_index=i + 1, acquisition_time_stamp=stamp, **{counter: i})
        for i, stamp in enumerate(stamps)
    ]
    (image,) = written(tmp_path, images, system(vendor))
    assert image.shape == (8, 6, 1, 3)
    unit = "unknown" if seconds is None else "sec"
    assert image.header.get_xyzt_units() == ("mm", unit)
    assert float(image.header.get_zooms()[3]) == pytest.approx(seconds or 1.0)


def test_a_header_that_is_none_keeps_no_image_from_its_file(tmp_path):
    (image,) = written(tmp_path, slices_at([0, 5]), "no XML")
    assert z_of(image) == [0, 5]


@pytest.mark.parametrize("stagger", [0.0, 0.002, 0.006, 2.0])
def test_voxel_sizes_are_stated_however_slices_are_staggered(tmp_path, stagger):
    images = slices_at([0, 5, 10])
    for i, image in enumerate(images):
        image.position = (i * stagger, *tuple(image.position)[1:])
    (made,) = written(tmp_path, images)
    sizes = made.header.get_zooms()[:3]
    np.testing.assert_allclose(sizes, [20, 20, np.hypot(stagger, 5)], rtol=1e-6)
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(made.affine), sizes, rtol=1e-6)
