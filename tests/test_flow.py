import cv2
import numpy as np
import pytest

from zoo.data.videos.clips import view_frames
from zoo.data.videos.flow import flow_image, optical_flow

METHODS = ["dis", "farneback"]


@pytest.fixture
def moving():
    """Frames in which a texture moves 3 pixels to the right and 2 up, each time."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    return [texture[20 + 2 * n : 84 + 2 * n, 40 - 3 * n : 136 - 3 * n].copy() for n in range(4)]


@pytest.mark.parametrize("method", METHODS)
def test_flow_is_how_far_pixels_move(moving, method):
    flows = list(optical_flow(moving, method))
    assert len(flows) == 3
    for flow in flows:
        assert flow.shape == (64, 96, 2) and flow.dtype == np.float32
        np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [3, -2], atol=0.05)


def test_motion_to_the_right_is_bright_in_red_and_motion_up_dark_in_green(moving):
    red, green, blue = np.median(flow_image(next(optical_flow(moving))), axis=(0, 1))
    assert red == 128 + 3 * 16 and green == 128 - 2 * 16
    assert blue == round(128 + 16 * 13**0.5)


@pytest.mark.parametrize("method", METHODS)
def test_still_frames_have_no_flow(moving, method):
    (flow,) = optical_flow([moving[0], moving[0]], method)
    assert np.abs(flow_image(flow).astype(int) - 128).max() <= 1  # a level is 1/16 pixel


def test_flow_comes_frame_by_frame(moving):
    asked = []
    flows = optical_flow(asked.append(n) or frame for n, frame in enumerate(moving))
    next(flows)
    assert asked == [0, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_one_frame_has_no_flow(moving, count):
    assert list(optical_flow(moving[:count])) == []


def test_encoding_is_that_of_the_paper():
    # 16 levels a pixel around 128; x, y and length as R, G and B; rounded, cut to 0..255.
    flow = np.array([[[0, 0], [3, -4], [0.04, -0.05], [-9, 8], [7.9, -8]]], np.float32)
    assert flow_image(flow).tolist() == [
        [[128, 128, 128], [176, 64, 208], [129, 127, 129], [0, 255, 255], [254, 0, 255]]
    ]


def test_mirrored_image_is_the_flow_of_the_mirrored_video(moving):
    mirrored = [np.ascontiguousarray(frame[:, ::-1]) for frame in moving]
    images = np.stack([flow_image(flow) for flow in optical_flow(moving)])
    expected = np.stack([flow_image(flow) for flow in optical_flow(mirrored)])
    side = min(images.shape[1:3])
    (got,) = view_frames(images.astype("float32"), side, ["mirror_center"], "flow").numpy()
    expected, unturned = (
        view_frames(x.astype("float32"), side, ["center"])[0].numpy()
        for x in (expected, images[:, :, ::-1])
    )
    inside = np.s_[:, 8:-8, 8:-8]  # what enters at the border can only be guessed
    assert np.median(got[..., 0]) == 80
    assert np.mean(np.abs(got[inside].astype(int) - expected[inside])) < 0.5
    assert np.mean(np.abs(unturned[inside].astype(int) - expected[inside])) > 20


def test_unknown_method_is_named(moving):
    with pytest.raises(ValueError, match="dis, farneback; got 'brox'"):
        next(optical_flow(moving, "brox"))


def test_frames_have_one_size(moving):
    with pytest.raises(ValueError, match=r"\(64, 96\) is followed by \(32, 96\)"):
        list(optical_flow([moving[0], moving[1][:32]]))
