"""Files that are whole at any moment: written aside, then renamed."""

import contextlib
import json
import os
import socket


@contextlib.contextmanager
def aside(path):
    """Gives a path to write to; what was written there takes its place when all is written.

    Whoever reads `path` meanwhile finds the old file, or none, never half of the new one. Where
    the writing fails, nothing is left of it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with aside(f"{folder}/words.txt") as part, open(part, "w") as file:
    ...         _ = file.write("a dog")
    ...     os.listdir(folder)
    ['words.txt']

    Args:
        path: File to write, in a folder that exists.

    Yields:
        A path beside it, another for each process, also where machines share the folder.
    """
    part = f"{os.fspath(path)}.{socket.gethostname()}.{os.getpid()}.part"
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


def write_json(path, value):
    """Writes JSON, one value a line, at once or not at all; the folder is made if need be."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with aside(path) as part, open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
