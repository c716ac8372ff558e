"""`lrcn serve` in a process of its own, for programs that show or measure it."""

import contextlib
import pathlib
import re
import subprocess
import sys

STOP_SECONDS = 60.0  # a server takes half of that to finish what is in flight


@contextlib.contextmanager
def serving(saved_models, log, *options):
    """Runs a server on free ports of this machine, as long as the context lasts.

    Args:
        saved_models: Folder of all served models.
        log: Path of the file for what the server writes on stderr.
        *options: More arguments of `lrcn serve`.

    Yields:
        The process, and `"host:port"` of gRPC.

    Raises:
        ChildProcessError: If the server does not start.
    """
    command = [sys.executable, "-m", "zoo.cli", "serve", str(saved_models)]
    command += ["--port", "0", "--rest-port", "0", *options]
    with open(log, "w") as file:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
    try:
        port = re.search(r"gRPC on port (\d+)", server.stdout.readline())
        if port is None:
            reason = pathlib.Path(log).read_text().strip().rpartition("\n")[2]
            raise ChildProcessError(f"The server did not start; {log} ends with: {reason}")
        yield server, f"127.0.0.1:{port[1]}"
    finally:
        server.terminate()
        try:
            server.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()
