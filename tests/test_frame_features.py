"""Features of frames are those of the encoder, are kept, and survive a kill and a damaged video."""

import keras
import numpy as np
import pytest

from zoo.data.features.frame_features import encode_videos
from zoo.data.sources.arrays import ClipArray
from zoo.data.videos.reading import VideoError
from zoo.models.backbones import image_encoder


@pytest.fixture
def encoder():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, strides=2)])
    return image_encoder(network, (1 / 255, 0.0))


@pytest.fixture
def source():
    clips = np.random.default_rng(0).integers(0, 256, (4, 5, 10, 12, 3)).astype("uint8")
    return ClipArray(clips, [0, 1, 0, 1], ["a", "b"])


class Breaks(ClipArray):
    """A source whose second video breaks off after three frames."""

    def frames(self, row):
        for n, frame in enumerate(super().frames(row)):
            if row == 1 and n == 3:
                raise VideoError("second.avi", "damaged after 3 frames")
            yield frame


def test_features_are_those_of_the_encoder_in_every_view(encoder, source, tmp_path):
    views = ("center", "mirror_top_left")
    features, damaged = encode_videos(encoder, source, (10, 12), tmp_path, views, batch_size=3)
    assert not damaged and len(features) == 4
    for row, (center, mirrored) in enumerate(features):
        frames = np.stack(list(source.frames(row))).astype("float32")
        expected = encoder.predict(frames[:, 1:9, 2:10], verbose=0)
        np.testing.assert_allclose(center, expected, rtol=2e-3, atol=1e-3)
        expected = encoder.predict(frames[:, :8, :8][:, :, ::-1], verbose=0)
        np.testing.assert_allclose(mirrored, expected, rtol=2e-3, atol=1e-3)


def test_second_time_the_encoder_is_not_asked(encoder, source, tmp_path):
    first, _ = encode_videos(encoder, source, (10, 12), tmp_path)
    encoder_calls = []
    encoder.call = lambda *a, **k: encoder_calls.append(a)  # would fail
    second, _ = encode_videos(encoder, source, (10, 12), tmp_path)
    assert not encoder_calls
    for (one,), (other,) in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_weights_other_sizes_and_other_frames_are_encoded_anew(encoder, source, tmp_path):
    encode_videos(encoder, source, (10, 12), tmp_path)
    encode_videos(encoder, source, (9, 12), tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    encoder.set_weights([w + 1 for w in encoder.get_weights()])
    encode_videos(encoder, source, (10, 12), tmp_path)
    assert len(list(tmp_path.iterdir())) == 12


def test_damaged_video_is_left_out_with_its_reason_and_the_others_stay(encoder, source, tmp_path):
    broken = Breaks(source._clips, source.labels, source.class_names)
    features, damaged = encode_videos(encoder, broken, (10, 12), tmp_path, batch_size=2)
    assert list(damaged) == [1] and "damaged after 3 frames" in damaged[1]
    assert features[1] is None
    whole, _ = encode_videos(encoder, source, (10, 12), tmp_path)
    for row in (0, 2, 3):
        np.testing.assert_array_equal(features[row][0], whole[row][0])


def test_unknown_view_is_refused(encoder, source, tmp_path):
    with pytest.raises(ValueError, match="views are names out of center"):
        encode_videos(encoder, source, (10, 12), tmp_path, ("full",))
