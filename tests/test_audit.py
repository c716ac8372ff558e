import io

import numpy as np
import PIL.Image
import pytest

from zoo.data.datasets import CaptionedImage, read
from zoo.inference.audit import audit, sheet


@pytest.fixture
def jpeg(tmp_path):
    """Writes a small JPEG and returns its path; `keep` cuts the file after so many bytes."""

    def write(name, keep=None):
        noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        PIL.Image.fromarray(noise).save(buffer, "jpeg")
        (tmp_path / name).write_bytes(buffer.getvalue()[:keep])
        return str(tmp_path / name)

    return write


def test_sound_data_has_no_problems(jpeg):
    examples = [CaptionedImage(i, jpeg(f"{i}.jpg"), ["a dog", "Ein Hund."]) for i in range(20)]
    assert audit(examples) == []
    assert audit([]) == []


def test_every_kind_of_problem_is_listed_in_order(jpeg, tmp_path):
    (tmp_path / "note.jpg").write_text("not a picture")
    examples = [
        CaptionedImage(1, str(tmp_path / "nowhere.jpg"), ["a dog"]),
        CaptionedImage(2, jpeg("cut.jpg", keep=400), ["a dog"]),
        CaptionedImage(3, str(tmp_path / "note.jpg"), ["a dog"]),
        CaptionedImage(4, jpeg("words.jpg"), ["a dog", " ?!", ""]),
        CaptionedImage(5, jpeg("silent.jpg"), []),
        CaptionedImage(4, jpeg("again.jpg"), ["a dog"]),
    ]
    problems = audit(examples)
    assert [problem.path for problem in problems] == [
        *(examples[i].path for i in (0, 1, 2)),
        *[examples[3].path] * 2,
        examples[4].path,
        examples[5].path,
    ]
    words = [problem.problem for problem in problems]
    assert "missing" in words[0] and "damaged" in words[1] and "not an image" in words[2]
    assert words[3:] == [
        "caption 2 has no word: ' ?!'",
        "caption 3 has no word: ''",
        "it has no captions",
        f"its image id 4 is also that of {examples[3].path}",
    ]


def test_sheet_shows_pictures_with_their_captions(jpeg, tmp_path):
    examples = [CaptionedImage(i, jpeg(f"{i}.jpg"), [f"dog <{i}>"]) for i in range(6)]
    examples.append(CaptionedImage(6, str(tmp_path / "nowhere.jpg"), ["a ghost"]))
    examples.append(CaptionedImage(7, jpeg("silent.jpg"), []))
    sheet(examples, tmp_path / "all.html")
    page = (tmp_path / "all.html").read_text(encoding="utf-8")
    assert page.count("<img") == 7
    assert "dog &lt;3&gt;" in page and "no captions" in page and "a ghost" in page


def test_sheet_is_the_same_for_the_same_seed(jpeg, tmp_path):
    examples = [CaptionedImage(i, jpeg(f"{i}.jpg"), [f"dog {i}"]) for i in range(12)]
    pages = []
    for seed in (0, 0, 1):
        sheet(examples, tmp_path / "some.html", count=4, seed=seed)
        pages.append((tmp_path / "some.html").read_text(encoding="utf-8"))
    assert pages[0].count("<img") == 4
    assert pages[0] == pages[1] != pages[2]


def test_real_photographs_are_sound(real_data):
    assert audit(read("coco2017", real_data / "coco_mini", "val")) == []
