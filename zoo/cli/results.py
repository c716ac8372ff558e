"""Captions of files, as `caption` and `demo` show them: lines on the terminal, and a page.

A result is a dict: `file` and either `captions`, a list of `{"caption", "log_prob", ...}`, best
first, or `error`. A caption of a model with a fitted confidence has `confidence`, from 0 to 1, and
`unsure`, whether that is below the model's threshold.
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
            print(_line(caption))


def write_page(results, path, intro=""):
    """Writes photographs and captions as an HTML page.

    Args:
        results: List of results, see above.
        path: HTML file to write.
        intro: Text below the title, such as what `describe_model` returns; or empty.
    """
    from zoo.visualization.gallery import Picture, write_gallery

    pictures = []
    for result in results:
        captions = result.get("captions", [])
        note = _note(captions[0]) if captions else result["error"]
        lines = [caption["caption"] for caption in captions] or ["(no caption)"]
        unsure = [caption.get("unsure", False) for caption in captions]
        pictures.append(Picture(result["file"], lines, note, unsure))
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gallery(path, "Photographs and their captions", pictures, intro)
    print(f"Pictures and captions: {path.resolve()}", file=sys.stderr)


def describe_model(preset):
    """Returns the name of a preset and its scope in one line, for people who see its answers.

    Args:
        preset: Name or folder of a preset.
    """
    from zoo.presets import read_metadata

    scope = read_metadata(preset).get("scope")
    name = pathlib.Path(preset).name
    return f"Model: {name}. {scope}" if scope else f"Model: {name}."


def _line(caption):
    """`   -9.12   62 %  a dog runs`; the percentage only if there is a confidence."""
    numbers = f"  {caption['log_prob']:7.2f}"
    if "confidence" not in caption:
        return f"{numbers}  {caption['caption']}"
    mark = " (unsure)" if caption["unsure"] else ""
    return f"{numbers}  {caption['confidence'] * 100:3.0f} %  {caption['caption']}{mark}"


def _note(caption):
    note = f"log-probability {caption['log_prob']:.2f}"
    if "confidence" in caption:
        note += f", confidence {caption['confidence'] * 100:.0f} %"
    return note
