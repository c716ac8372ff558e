"""Captions of files, as `caption` and `demo` show them: lines on the terminal, and a page.

A result is a dict: `file` and either `captions`, a list of `{"caption", "log_prob", ...}`, best
first, or `error`.
"""

import pathlib
import sys


def print_results(results):
    """Prints captions with their log-probabilities, and on stderr what has none."""
    for result in results:
        if "error" in result:
            print(f"{result['file']}: {result['error']}", file=sys.stderr)
            continue
        print(result["file"])
        for caption in result["captions"]:
            print(f"  {caption['log_prob']:7.2f}  {caption['caption']}")


def write_page(results, path):
    """Writes pictures and captions as a page to look at."""
    from zoo.gallery import Picture, write_gallery

    pictures = []
    for result in results:
        captions = result.get("captions", [])
        note = f"log-probability {captions[0]['log_prob']:.2f}" if captions else result["error"]
        lines = [caption["caption"] for caption in captions] or ["(no caption)"]
        pictures.append(Picture(result["file"], lines, note))
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gallery(path, "Photographs and their captions", pictures)
    print(f"Pictures and captions: {path.resolve()}", file=sys.stderr)
