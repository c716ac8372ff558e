"""Reader for sentences without pictures, from which a decoder can learn the language."""

import gzip
import pathlib

from zoo.data.datasets.example import existing
from zoo.text.vocabulary import has_word


def sentences(path):
    """Reads a text file with one sentence a line.

    Args:
        path: File in UTF-8. A file whose name ends in `.gz` is decompressed.

    Returns:
        List of strings, without white space at the ends. Lines without a word (no letter and no
        digit) are left out.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not UTF-8 text, is damaged, or holds no sentence.
    """
    path = pathlib.Path(existing(path, "a text file with one sentence a line"))
    open_text = gzip.open if path.suffix == ".gz" else open
    try:
        with open_text(path, "rt", encoding="utf-8-sig") as file:
            found = [line.strip() for line in file if has_word(line)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text ({error}). Convert the file.") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: expected a complete gzip file ({error}).") from error
    if not found:
        raise ValueError(f"{path}: expected one sentence a line, found none.")
    return found
