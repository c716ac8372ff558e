"""Writes photographs with their captions as one HTML page that needs no other file."""

import base64
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from zoo.files import aside

FORMATS = ("JPEG", "PNG", "GIF", "BMP")  # as in training; Pillow reads others by running programs
MAX_PIXELS = 40_000_000  # as in training
THUMBNAIL_SIZE = 320  # pixels, the longer side
JPEG_QUALITY = 80

PAGE_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ --page: #f4f4f1; --card: #fff; --mat: #e7e7e2; --ink: #1d1d1b; --soft: #686863 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #161615; --card: #222220; --mat: #2d2d2a; --ink: #ecece7; --soft: #a09f98 }}
}}
* {{ box-sizing: border-box }}
body {{ margin: 0 auto; max-width: 100rem; padding: 2rem clamp(1rem, 4vw, 3rem);
  background: var(--page); color: var(--ink); font: 1rem/1.45 system-ui, sans-serif;
  overflow-wrap: anywhere }}
h1 {{ margin: 0; font-size: 1.6rem; line-height: 1.2 }}
.intro {{ margin: .5rem 0 0; max-width: 45rem; color: var(--soft); white-space: pre-line }}
main {{ display: grid; gap: 1.25rem; margin-top: 1.75rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)) }}
figure {{ margin: 0; display: flex; flex-direction: column; overflow: hidden;
  background: var(--card); border-radius: .75rem; box-shadow: 0 1px 4px rgb(0 0 0 / .14) }}
img, .unreadable {{ display: block; width: 100%; aspect-ratio: 4 / 3; background: var(--mat) }}
img {{ height: auto; object-fit: contain }}
.unreadable {{ display: grid; place-content: center; padding: 1rem; text-align: center;
  color: var(--soft); overflow: hidden }}
figcaption {{ padding: .85rem 1rem 1rem }}
p {{ margin: 0 }}
.first {{ font-size: 1.1rem; font-weight: 600; line-height: 1.3 }}
.unsure {{ color: var(--soft) }}
.more {{ margin-top: .35rem; font-size: .9rem }}
.note {{ margin-top: .55rem; font-size: .78rem; color: var(--soft); white-space: pre-line }}
</style>
</head>
<body>
<h1 dir="auto">{title}</h1>
{intro}<main>
"""
PAGE_FOOT = "</main>\n</body>\n</html>\n"


class Picture(NamedTuple):
    """One card of a gallery.

    Attributes:
        path: File of the picture; one that cannot be read is shown by its name alone.
        lines: List of strings, the first shown large: the caption, then other captions.
        note: Text in small type below them, such as a score.
        unsure: List of bools, one for each line: a line that is unsure is greyed, and the word
            "(unsure)" follows it. Empty if all are sure.
    """

    path: str | os.PathLike
    lines: list[str]
    note: str = ""
    unsure: Sequence[bool] = ()


def write_gallery(out_path, title, pictures, intro=""):
    """Writes pictures with their captions as one HTML page, for any browser, offline.

    The page holds thumbnails of at most 320 pixels, about 20 KB each, upright and without the
    files' EXIF data and comments. It loads nothing from elsewhere and runs no script. It is
    written aside and then renamed: nobody sees half a page.

    Args:
        out_path: File to write; its folder is made if need be.
        title: Title of the page.
        pictures: Iterable of `Picture`, shown in this order.
        intro: Text below the title.

    Raises:
        ValueError: If the `lines` of a picture are one string instead of a list.
    """
    folder = os.path.dirname(os.path.abspath(out_path))
    os.makedirs(folder, exist_ok=True)
    with (
        aside(out_path) as part,
        # A file name may hold bytes that are no UTF-8: they are shown as "?".
        open(part, "w", encoding="utf-8", errors="replace", newline="\n") as page,
    ):
        intro = f'<p class="intro" dir="auto">{html.escape(intro)}</p>\n' if intro else ""
        page.write(PAGE_HEAD.format(title=html.escape(title), intro=intro))
        for picture in pictures:
            page.write(_card(picture))
        page.write(PAGE_FOOT)


def _card(picture):
    if isinstance(picture.lines, str):
        raise ValueError(
            "Expected the lines of a picture to be a list of captions. "
            f"Received the string {picture.lines!r}; put it in a list."
        )
    name = html.escape(Path(picture.path).name)
    thumbnail = _thumbnail(picture.path)
    if thumbnail is None:
        shown = f'<div class="unreadable" dir="auto">cannot be read: {name}</div>'
    else:
        data = base64.b64encode(thumbnail).decode("ascii")
        shown = f'<img src="data:image/jpeg;base64,{data}" alt="{name}" title="{name}">'
    unsure = picture.unsure or [False] * len(picture.lines)
    texts = []
    for number, (line, is_unsure) in enumerate(zip(picture.lines, unsure, strict=True)):
        kind = "first" if number == 0 else "more"
        texts.append((f"{kind} unsure", f"{line} (unsure)") if is_unsure else (kind, line))
    texts += [("note", picture.note)] if picture.note else []
    caption = "\n".join(
        f'<p class="{kind}" dir="auto">{html.escape(text)}</p>' for kind, text in texts
    )
    return f"<figure>\n{shown}\n<figcaption>\n{caption}\n</figcaption>\n</figure>\n"


def _thumbnail(path):
    """Gives a small upright JPEG, or None if the picture cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))  # first, so that less is turned
            image = ImageOps.exif_transpose(image).convert("RGB")
        image.info.clear()  # comments and the like, which Pillow would copy
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=JPEG_QUALITY)
        return jpeg.getvalue()
    except Exception:  # Pillow's readers of broken files raise whatever they stumble on
        return None
