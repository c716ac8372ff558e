"""Videos of moving digits are written as files that show what is said of them."""

import numpy as np
import pytest

from zoo.data.datasets.synthetic.described_digits import described_digits
from zoo.data.datasets.synthetic.moving_digits import MOTIONS, moving_digits
from zoo.data.videos.reading import frame_times, read_frames
from zoo.data.videos.sample_videos import RATE, write_digit_videos


def test_files_show_the_digits_that_are_told(tmp_path):
    written = write_digit_videos(tmp_path / "digits", num_videos=2, seed=3)
    names = ["activity0.mp4", "activity1.mp4", "described0.mp4", "described1.mp4"]
    assert [path for path, _ in written] == [str(tmp_path / "digits" / name) for name in names]
    clips, labels, _ = moving_digits("test", 2, seed=3)
    told, examples = described_digits("test", 2, seed=3)
    expected = [list(MOTIONS)[label] for label in labels] + [e.captions[0] for e in examples]
    assert [shown for _, shown in written] == expected
    for (path, _), clip in zip(written, [*clips, *told], strict=True):
        frames = np.stack(list(read_frames(path)))
        assert frames.shape == clip.shape
        assert np.abs(frames.astype(float) - clip).mean() < 3  # of 255
        np.testing.assert_allclose(np.diff(frame_times(path)), 1 / RATE, atol=1e-3)


def test_files_that_exist_are_kept(tmp_path):
    (tmp_path / "described0.mp4").write_text("mine")
    with pytest.raises(FileExistsError, match=r"described0\.mp4 exists"):
        write_digit_videos(tmp_path, num_videos=1)
    assert [file.name for file in tmp_path.iterdir()] == ["described0.mp4"]
    assert (tmp_path / "described0.mp4").read_text() == "mine"
