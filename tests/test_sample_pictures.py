"""The photographs that other packages ship."""

import sys

import pytest
from PIL import Image

from zoo.data.images.sample_pictures import PICTURES, sample_pictures


def test_every_sample_picture_is_a_photograph_in_colour_or_grey():
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    paths = sample_pictures()
    assert len(paths) == len(PICTURES)
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) >= 200 and image.mode in ("RGB", "L")


def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "skimage.data", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"package skimage\. .*lrcn-zoo\[demo\]"):
        sample_pictures()
