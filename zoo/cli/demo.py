"""`lrcn demo`: a model exported, served on this machine and asked over gRPC, on a few photographs.

The server is the one that `lrcn serve` starts, in a process of its own.
"""

import contextlib
import pathlib
import shutil
import signal
import sys

from zoo.cli.arguments import CAPTIONER
from zoo.cli.caption import ask_server
from zoo.cli.results import describe_model, print_results, write_page
from zoo.cli.serve import import_server

FOLDER = pathlib.Path("demo")
SAVED_MODELS = FOLDER / "saved_models"  # the demo's own: earlier versions in it are removed


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("demo", help="export, serve and ask a model, and write a page")
    p.set_defaults(command=run)
    p.add_argument("--model", default=CAPTIONER, metavar="PRESET", help="name or folder")
    p.add_argument("--html", default=str(FOLDER / "index.html"), metavar="FILE")


def run(options):
    """Captions a few photographs that other packages ship, and writes a page to look at."""
    from zoo.data.images.sample_pictures import sample_pictures
    from zoo.serving.local_server.process import serving

    paths = sample_pictures()
    import_server()  # what is missing shows before the work begins
    from zoo.serving.export import export_preset

    about = describe_model(options.model)
    print(about, flush=True)
    print(f"Exporting {options.model}", flush=True)
    version = pathlib.Path(export_preset(options.model, SAVED_MODELS))
    for earlier in version.parent.iterdir():
        if earlier != version:
            shutil.rmtree(earlier)
    print(f"Starting a server for {version}, which warms up first", flush=True)
    with ended_in_order(), serving(SAVED_MODELS, FOLDER / "server.log") as (_, address):
        print(f"Serving at {address}, asked over gRPC:", flush=True)
        results = ask_server(address, paths, n_best=3)
        print_results(results)
    print("The server has stopped.", flush=True)
    write_page(results, options.html, about)
    return 0


@contextlib.contextmanager
def ended_in_order():
    """Lets SIGTERM unwind what is open, such as a server, instead of ending this process alone."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
