import base64
import io
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from zoo.visualization.gallery import Picture, write_gallery

HOSTILE = """<script>alert("x")</script> & 'quoted' "><img src=http://evil.example/x.png>"""


class Reader(HTMLParser):
    """Collects the tags of a page, their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
def photo(tmp_path):
    """Makes a picture file: the left half red, the right half blue."""

    def make(name="photo.jpg", size=(640, 480), **options):
        pixels = np.zeros((size[1], size[0], 3), "uint8")
        pixels[:, : size[0] // 2, 0] = 255
        pixels[:, size[0] // 2 :, 2] = 255
        path = tmp_path / name
        Image.fromarray(pixels).save(path, "JPEG", **options)
        return path

    return make


def written(tmp_path, pictures, title="Captions", intro=""):
    out_path = tmp_path / "page.html"
    write_gallery(out_path, title, pictures, intro)
    return out_path.read_text(encoding="utf-8")


def thumbnails(page):
    data = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(one, validate=True))) for one in data]


def test_page_shows_pictures_and_lines_in_order(tmp_path, photo):
    pictures = [
        Picture(photo("1.jpg"), ["a man rides a horse", "a horse"], "CIDEr 1.20"),
        Picture(photo("2.jpg"), ["two dogs"]),
    ]
    reader = Reader(written(tmp_path, pictures, "My run", "best first"))
    shown = [line for line in reader.text.split("\n") if line]
    assert shown[-6:] == [
        "My run",
        "best first",
        "a man rides a horse",
        "a horse",
        "CIDEr 1.20",
        "two dogs",
    ]
    kinds = [attributes.get("class") for attributes in reader.all("p")]
    assert kinds == ["intro", "first", "more", "note", "first"]


def test_unsure_lines_are_greyed_and_say_so_in_words(tmp_path, photo):
    pictures = [
        Picture(photo("1.jpg"), ["a dog", "a cat"], "CIDEr 1.20", [False, True]),
        Picture(photo("2.jpg"), ["a <cow>", "a cup"], unsure=[True, False]),
        Picture(photo("3.jpg"), ["a house"]),
    ]
    page = written(tmp_path, pictures)
    reader = Reader(page)
    shown = [line for line in reader.text.split("\n") if line][-6:]
    assert shown == [
        "a dog",
        "a cat (unsure)",
        "CIDEr 1.20",
        "a <cow> (unsure)",
        "a cup",
        "a house",
    ]
    kinds = [attributes.get("class") for attributes in reader.all("p")]
    assert kinds == ["first", "more unsure", "note", "first unsure", "more", "first"]
    assert ".unsure { color: var(--soft) }" in page


def luminance(color):
    """Relative luminance of `#rgb` or `#rrggbb`, as WCAG 2 defines it."""
    digits = color.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    channels = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_grey_text_has_enough_contrast_on_light_and_dark_pages(tmp_path):
    page = written(tmp_path, [])
    themes = re.findall(r":root \{ (.*?) \}", page)
    assert len(themes) == 2
    for theme in themes:
        colors = dict(re.findall(r"--(\w+): (#\w+)", theme))
        darker, lighter = sorted(luminance(colors[name]) for name in ("soft", "card"))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2, level AA


def test_hostile_text_is_shown_and_not_obeyed(tmp_path, photo):
    name = HOSTILE.replace("/", "_")
    pictures = [
        Picture(photo(name), [HOSTILE, HOSTILE], HOSTILE),
        Picture(tmp_path / ("missing " + name), [HOSTILE]),
    ]
    page = written(tmp_path, pictures, HOSTILE, HOSTILE)
    reader = Reader(page)
    assert not reader.all("script")
    assert [image["alt"] for image in reader.all("img")] == [name]
    assert reader.text.count(HOSTILE) == 7
    assert "cannot be read: missing " + name in reader.text


def test_page_needs_nothing_from_elsewhere(tmp_path, photo):
    page = written(tmp_path, [Picture(photo(), ["see http://example.org"])])
    reader = Reader(page)
    for _, attributes in reader.tags:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(key, "data:").startswith("data:")
    assert not reader.all("link") and not reader.all("script")
    assert "@import" not in page and "url(" not in page


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path, photo, orientation):
    turned = {  # what a camera would have stored for each value of the EXIF tag
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.open(photo(size=(400, 200)))
    image = image if turned is None else image.transpose(turned)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (thumbnail,) = thumbnails(written(tmp_path, [Picture(tmp_path / "turned.jpg", ["x"])]))
    assert thumbnail.size == (320, 160)
    red, blue = np.asarray(thumbnail)[80, 40], np.asarray(thumbnail)[80, 280]
    assert red[0] > 200 > 50 > red[2] and blue[2] > 200 > 50 > blue[0]


def test_thumbnails_are_small_and_tell_nothing_of_the_camera(tmp_path, photo):
    exif = Image.Exif()
    exif[0x010F] = "camera"
    exif.get_ifd(0x8825)[1] = "N"  # a place
    pictures = [
        Picture(photo("tall.jpg", (500, 2000), exif=exif, comment=b"private"), ["tall"]),
        Picture(photo("tiny.jpg", (30, 20)), ["tiny"]),
    ]
    tall, tiny = thumbnails(written(tmp_path, pictures))
    assert (tall.size, tiny.size) == ((80, 320), (30, 20))
    assert not tall.getexif() and "comment" not in tall.info


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_any_kind_of_picture_is_shown(tmp_path, mode):
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new(mode, (40, 30)).save(path)
    assert len(thumbnails(written(tmp_path, [Picture(path, ["x"])]))) == 1


def test_unreadable_pictures_are_shown_by_their_names(tmp_path, photo):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "short.jpg").write_bytes(photo("whole.jpg").read_bytes()[:900])
    names = ["missing.jpg", "empty.jpg", "text.jpg", "short.jpg"]
    page = written(tmp_path, [Picture(tmp_path / name, ["caption of it"]) for name in names])
    assert not thumbnails(page)
    assert re.findall(r"cannot be read: (\S+)</div>", page) == names
    assert page.count("caption of it") == 4


def test_a_file_name_that_is_not_unicode_does_not_stop_the_page(tmp_path):
    picture = Picture(os.fsdecode(b"caf\xe9.jpg"), ["a cup"])
    assert "cannot be read: caf?.jpg" in written(tmp_path, [picture])


def test_a_failed_page_leaves_the_old_one(tmp_path, photo):
    old = written(tmp_path, [Picture(photo(), ["old"])])

    def broken():
        yield Picture(photo(), ["new"])
        raise KeyError("no more")

    with pytest.raises(KeyError):
        write_gallery(tmp_path / "page.html", "t", broken())
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == old
    assert sorted(os.listdir(tmp_path)) == ["page.html", "photo.jpg"]


def test_a_mark_for_each_line_is_needed(tmp_path, photo):
    with pytest.raises(ValueError, match="shorter"):
        written(tmp_path, [Picture(photo(), ["a man", "a dog"], unsure=[True])])


def test_lines_that_are_one_string_are_refused(tmp_path, photo):
    with pytest.raises(ValueError, match="list of captions.*'a man'"):
        write_gallery(tmp_path / "page.html", "t", [Picture(photo(), "a man")])


def test_the_folder_of_a_page_is_made(tmp_path):
    write_gallery(tmp_path / "new" / "page.html", "t", [])
    assert (tmp_path / "new" / "page.html").read_text().endswith("</html>\n")


@pytest.mark.parametrize("what", ["PostScript", "more than 40 megapixels"])
def test_what_training_refuses_is_not_opened(tmp_path, what):
    path = tmp_path / "picture.jpg"
    if what == "PostScript":  # Pillow would run Ghostscript on it
        Image.new("RGB", (8, 8)).save(path, "EPS")
    else:
        Image.new("1", (8000, 5001)).save(path, "PNG")
    write_gallery(tmp_path / "page.html", "t", [Picture(path, ["a"])])
    page = Reader((tmp_path / "page.html").read_text())
    assert not page.all("img") and "cannot be read: picture.jpg" in page.text
