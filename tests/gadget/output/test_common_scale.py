"""Images as integers: value = scale * n within half a step, one scale for a measurement."""

import ismrmrd
import numpy as np
import pytest

from gadget.output.common_scale import CommonScale
from jrsr_core.mrd.grey_values import GREATEST, meta_of, scale_of, values_of


def image(values: np.ndarray, index: int = 1, **meta: str) -> ismrmrd.Image:
    made = ismrmrd.Image.from_array(values.astype(np.float32), transpose=False)
    made.image_index, made.image_type = index, ismrmrd.IMTYPE_MAGNITUDE
    made.position = (1.0, -2.0, 3.0)
    made.meta = ismrmrd.Meta(meta)
    return made


def integers(kind: str, *images: ismrmrd.Image) -> list[ismrmrd.Image]:
    common_scale = CommonScale(kind)
    assert [list(common_scale.add(i)) for i in images] == [[]] * len(images)
    made = list(common_scale.finish())
    common_scale.close()
    return made


@pytest.mark.parametrize(("kind", "dtype"), [("int16", np.int16), ("uint16", np.uint16)])
@pytest.mark.parametrize("unit", [1e-12, 1.0, 3e7])
def test_values_come_back_within_half_a_step(kind, dtype, unit):
    random = np.random.default_rng(0)
    given = [unit * random.uniform(0, top, (1, 2, 5, 6)) for top in (1.0, 7.0, 0.1)]
    made = integers(kind, *(image(v, i) for i, v in enumerate(given)))
    (scale,) = {scale_of(m) for m in made}
    assert scale == pytest.approx(max(v.max() for v in given) / GREATEST, rel=1e-6)
    for one, values in zip(made, given, strict=True):
        assert one.data.dtype == dtype and one.data.shape == (1, 2, 5, 6)
        assert np.abs(values_of(one) - values).max() <= 0.5001 * scale
    assert [one.image_index for one in made] == [0, 1, 2]
    assert made[1].data.max() == GREATEST


def test_header_and_attributes_are_kept_and_windows_follow_the_pixels():
    values = np.linspace(0, 8.19, 12).reshape(1, 1, 3, 4)
    (made,) = integers("uint16", image(values, WindowCenter="4.095", WindowWidth="8.19", other="x"))
    assert list(made.position) == [1.0, -2.0, 3.0] and made.image_type == ismrmrd.IMTYPE_MAGNITUDE
    assert made.meta["WindowCenter"] == "2048" and made.meta["WindowWidth"] == "4095"
    assert made.meta["other"] == "x"
    assert float(made.meta["GADGETRON_ScaleRatio"]) == pytest.approx(1 / scale_of(made))
    assert float(meta_of(made)["WindowWidth"]) == pytest.approx(8.19, rel=1e-3)


def test_maps_have_a_scale_of_their_own():
    one = np.ones((1, 1, 2, 2))
    made = integers("int16", image(one), image(100 * one, JRSR_map="unmeasured"))
    assert [m.data.max() for m in made] == [GREATEST, GREATEST]
    assert scale_of(made[1]) == pytest.approx(100 * scale_of(made[0]))


def test_an_image_without_signal_is_0():
    (made,) = integers("int16", image(np.zeros((1, 1, 2, 2))))
    assert made.data.max() == 0 and scale_of(made) == 1.0


@pytest.mark.parametrize("kind", ["magnitude", "complex"])
def test_other_images_pass_at_once(kind):
    common_scale = CommonScale(kind)
    given = image(np.ones((1, 1, 2, 2)))
    assert list(common_scale.add(given)) == [given] and list(common_scale.finish()) == []


@pytest.mark.parametrize("text", ["nan", "-1", "0", "x", "inf"])
def test_a_scale_that_is_none_counts_as_1(text):
    assert scale_of(image(np.ones((1, 1, 2, 2)), JRSR_value_of_one=text)) == 1.0
