"""`lrcn caption`: describes photographs, with a model or by asking a server."""

import dataclasses
import functools
import json
import pathlib

from zoo.cli.arguments import CAPTIONER, positive
from zoo.cli.results import describe_model, print_results, write_page

BATCH_SIZE = 32  # photographs at once
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png"}


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("caption", help="describe photographs")
    p.set_defaults(command=run, check=functools.partial(_check, p))
    p.add_argument("pictures", nargs="+", metavar="FILE_OR_FOLDER")
    p.add_argument("--model", metavar="PRESET", help=f"name or folder; default: {CAPTIONER}")
    p.add_argument(
        "--beam", type=positive, metavar="N", help="candidates kept; default: the preset's"
    )
    p.add_argument(
        "--server", metavar="HOST:PORT", help="ask a model server (gRPC) instead of loading a model"
    )
    p.add_argument("--tls-root", metavar="FILE", help="certificate to trust; speaks TLS to it")
    p.add_argument("--n-best", type=positive, default=1, metavar="N", help="captions a picture")
    p.add_argument("--json", action="store_true", help="for scripts")
    p.add_argument("--html", metavar="FILE", help="also write a page with pictures and captions")


def _check(parser, options):
    for name in ("model", "beam"):
        if options.server and getattr(options, name):
            parser.error(f"--{name} does not go with --server: the server has its own model")
    if options.tls_root and not options.server:
        parser.error("--tls-root goes with --server")


def run(options):
    """Prints captions of photographs with their log-probabilities."""
    paths = find_pictures(options.pictures)
    if options.server:
        results = ask_server(options.server, paths, options.n_best, options.tls_root)
    else:
        model = options.model or CAPTIONER
        results = caption_with_model(model, paths, options.beam, options.n_best)
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        print_results(results)
    if options.html:
        write_page(results, options.html, _describe_source(options))
    return 0 if any("captions" in result for result in results) else 1


def _describe_source(options):
    """Returns a line that names what wrote the captions."""
    if options.server:
        return f"Captions by the server {options.server}."
    return describe_model(options.model or CAPTIONER)


def caption_with_model(preset, paths, beam_size=None, n_best=1):
    """Captions files with a model of this process.

    Args:
        preset: Name or folder of a preset.
        paths: List of files.
        beam_size: Width of the beam; None takes the preset's.
        n_best: Captions a file.

    Returns:
        List of results; see `zoo.inference.caption_files`.
    """
    from zoo.inference.caption_files import caption_files
    from zoo.presets import from_preset

    captioner = from_preset(preset, "image_captioning")
    beam_size = max(beam_size or captioner.sampler.beam_size, n_best)
    sampler = dataclasses.replace(captioner.sampler, beam_size=beam_size, n_best=n_best)
    with _progress(len(paths)) as bar:
        return caption_files(captioner, paths, sampler, progress=bar.update)


def ask_server(address, paths, n_best=1, root_certificates=None):
    """Captions files by asking a model server.

    Args:
        address: `"host:port"` of gRPC.
        paths: List of files.
        n_best: Captions a file, at most as many as the model was exported with.
        root_certificates: File with the certificates to trust, or None, then without TLS.

    Returns:
        List of results, one for each file in order; see `zoo.cli.results`.

    Raises:
        ConnectionError: If the server gives no answer, or an error.
        ValueError: If the model gives fewer captions.
    """
    from zoo.serving.client import OK, Client, ServerError

    results = []
    with (
        Client(address, root_certificates=root_certificates) as client,
        _progress(len(paths)) as bar,
    ):
        for start in range(0, len(paths), BATCH_SIZE):
            batch = paths[start : start + BATCH_SIZE]
            try:
                answers = client.caption(batch, n_best)
            except ServerError as error:
                raise ConnectionError(" ".join(str(error).split())) from None  # in one line
            for path, answer in zip(batch, answers, strict=True):
                found = {"error": answer.status}
                if answer.status == OK:
                    found = {"captions": _served_captions(answer)}
                results.append({"file": str(path), **found})
            bar.update(len(batch))
    return results


def _served_captions(answer):
    """The entries of a result for a `zoo.serving.client.Captioned`."""
    entries = [
        {"caption": text, "log_prob": log_prob}
        for text, log_prob in zip(answer.captions, answer.log_probs, strict=True)
    ]
    if answer.confidences is not None:
        for entry, confidence, unsure in zip(
            entries, answer.confidences, answer.unsure, strict=True
        ):
            entry["confidence"] = confidence
            entry["unsure"] = unsure
    return entries


def find_pictures(names):
    """Lists files as they are named, and the pictures in folders, at any depth, in order."""
    paths = []
    for name in map(pathlib.Path, names):
        if name.is_dir():
            files = (file for file in name.rglob("*") if file.suffix.lower() in SUFFIXES)
            found = sorted(file for file in files if file.is_file())
            if not found:
                raise ValueError(f"{name} holds no picture ({', '.join(sorted(SUFFIXES))}).")
            paths += found
        else:
            paths.append(name)
    return [str(path) for path in paths]


def _progress(total):
    """A bar on a terminal's stderr, where there are several batches."""
    from tqdm import tqdm

    return tqdm(total=total, unit=" photos", disable=None if total > BATCH_SIZE else True)
