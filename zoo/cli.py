"""The command line: `lrcn caption | audit | presets | demo | export | serve`."""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile

CAPTIONER = "lrcn_captioner_efficientnet_lite0_flickr8k"
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png"}
# Photographs that may be shown freely, from packages that ship them: package, file.
DEMO_PICTURES = (
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "camera.png"),
    ("skimage.data", "chelsea.png"),
    ("skimage.data", "coffee.png"),
    ("skimage.data", "motorcycle_left.png"),
    ("skimage.data", "rocket.jpg"),
    ("sklearn.datasets.images", "china.jpg"),
    ("sklearn.datasets.images", "flower.jpg"),
)


def main(arguments=None):
    """Runs one command; errors that a user can mend are one line on stderr and exit code 1."""
    options = _parse(arguments)
    try:
        _import_tensorflow_quietly()
        sys.exit(options.command(options))
    except (OSError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f"lrcn: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def caption(options):
    """Prints captions of photographs with their log-probabilities."""
    results = caption_files(
        options.model, find_pictures(options.pictures), options.beam, options.n_best
    )
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        for result in results:
            _print_result(result)
    if options.html:
        _write_page(results, options.html)
    return 0 if any("captions" in result for result in results) else 1


def caption_files(preset, paths, beam_size=None, n_best=1):
    """Captions files.

    Args:
        preset: Name or folder of a preset.
        paths: List of files.
        beam_size: Width of the beam; None takes the preset's.
        n_best: Captions a file.

    Returns:
        List of dicts, one for each file in order: `file` and either `captions`, a list of
        `{"caption", "log_prob", "word_log_probs"}`, best first, or `error`.
    """
    import numpy as np
    from tqdm import tqdm

    from zoo.data.images import explain, read_images
    from zoo.decoding import Constraints
    from zoo.presets import from_preset
    from zoo.vocabulary import UNKNOWN

    captioner = from_preset(preset)
    beam_size = max(beam_size or captioner.sampler.beam_size, n_best)
    sampler = dataclasses.replace(captioner.sampler, beam_size=beam_size, n_best=n_best)
    constraints = Constraints(forbidden_ids=(UNKNOWN,))
    captions = {}
    batches = read_images(paths, captioner.image_encoder.input_shape[1]).batch(32)
    with tqdm(total=len(paths), unit=" photos", disable=None if len(paths) > 32 else True) as bar:
        for indices, images in batches.as_numpy_iterator():
            decoded = captioner.generate(images, sampler, constraints=constraints)
            for index, *rows in zip(indices, *decoded, strict=True):
                captions[int(index)] = [
                    {
                        "caption": captioner.vocabulary.decode(ids),
                        "log_prob": float(log_prob),
                        "word_log_probs": words[: np.count_nonzero(ids) + 1].tolist(),
                    }
                    for ids, log_prob, words in zip(*rows, strict=True)
                ]
            bar.update(len(indices))
    return [
        {"file": str(path), "captions": captions[i]}
        if i in captions
        else {"file": str(path), "error": explain(path) or "cannot be read"}
        for i, path in enumerate(paths)
    ]


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


def audit(options):
    """Lists what training would stumble over, and writes a sheet of examples."""
    from zoo.data import audit as auditing
    from zoo.data import datasets

    examples = datasets.read(options.dataset, options.data, options.split)
    problems = auditing.audit(examples)
    auditing.sheet(examples, options.sheet)
    if options.json:
        print(json.dumps([problem._asdict() for problem in problems], indent=1))
    else:
        for problem in problems:
            print(f"{problem.path}: {problem.problem}")
        captions = sum(len(example.captions) for example in examples)
        print(f"{len(examples)} pictures, {captions} captions, {len(problems)} problems.")
        print(f"Examples: {pathlib.Path(options.sheet).resolve()}")
    return 1 if problems else 0


def presets(options):
    """Lists the models that come with the package."""
    from zoo import presets as shelf

    found = shelf.presets()
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    for name, about in found.items():
        scores = about.get("scores", {})
        shown = [f"{key} {scores[key]:.3f}" for key in ("bleu_4", "cider") if key in scores]
        print(f"{name}\n  {about['task']}, trained on {about.get('data')}, ", end="")
        print(f"{about['megabytes']:.0f} MB; {', '.join(shown)}")
    return 0


def demo(options):
    """Captions a few photographs that other packages ship, and writes a page to look at."""
    import importlib.util

    paths = []
    for package, file in DEMO_PICTURES:
        try:
            folder = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            folder = None
        if folder is None:
            raise ModuleNotFoundError(
                f"The demo shows photographs of the package {package.split('.')[0]}. Install "
                'them with pip install "lrcn-zoo[demo]", or caption your own: lrcn caption FILE'
            )
        paths.append(str(pathlib.Path(folder.origin).parent / file))
    results = caption_files(options.model, paths, n_best=3)
    for result in results:
        _print_result(result)
    _write_page(results, options.html)
    return 0


def export(options):
    """Writes a model as a SavedModel for a TensorFlow model server."""
    from zoo.presets import from_preset, model_card
    from zoo.serving import export as exporting

    captioner = from_preset(options.preset)
    card = model_card(pathlib.Path(options.preset).name, captioner.metadata)
    print(exporting.export(captioner, options.saved_models, options.name, card))
    return 0


def serve(options):
    """Serves exported models on this machine until it is told to stop."""
    try:
        from zoo.serving import server
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{error}. The server needs more packages: pip install "lrcn-zoo[serve]"'
        ) from None
    limits = {
        name: getattr(options, name)
        for name in ("max_message_bytes", "max_in_flight")
        if getattr(options, name) is not None
    }
    server.serve(
        options.saved_models,
        host=options.host,
        port=options.port,
        rest_port=options.rest_port,
        key=options.key,
        certificate=options.certificate,
        batch=options.batch,
        **limits,
    )
    return 0


def _import_tensorflow_quietly():
    """TensorFlow greets on stderr while it is imported, whatever its log level is."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for a GPU, and complains where there is none
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _print_result(result):
    if "error" in result:
        print(f"{result['file']}: {result['error']}", file=sys.stderr)
        return
    print(result["file"])
    for caption in result["captions"]:
        print(f"  {caption['log_prob']:7.2f}  {caption['caption']}")


def _write_page(results, path):
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


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return number


def _parse(arguments):
    parser = argparse.ArgumentParser(prog="lrcn", description="LRCN: photographs into sentences.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    p = commands.add_parser("caption", help="describe photographs")
    p.set_defaults(command=caption)
    p.add_argument("pictures", nargs="+", metavar="FILE_OR_FOLDER")
    p.add_argument("--model", default=CAPTIONER, metavar="PRESET", help="name or folder")
    p.add_argument(
        "--beam", type=_positive, metavar="N", help="candidates kept; default: the preset's"
    )
    p.add_argument("--n-best", type=_positive, default=1, metavar="N", help="captions a picture")
    p.add_argument("--json", action="store_true", help="for scripts")
    p.add_argument("--html", metavar="FILE", help="also write a page with pictures and captions")

    p = commands.add_parser("audit", help="check a data set before training")
    p.set_defaults(command=audit)
    p.add_argument("--dataset", required=True, metavar="NAME", help="flickr8k, coco2014, own, ...")
    p.add_argument("--data", required=True, metavar="DIR")
    p.add_argument("--split", default="train")
    p.add_argument("--sheet", default="audit.html", metavar="FILE", help="page of examples")
    p.add_argument("--json", action="store_true", help="for scripts")

    p = commands.add_parser("presets", help="list the trained models that come along")
    p.set_defaults(command=presets)
    p.add_argument("--json", action="store_true", help="for scripts")

    p = commands.add_parser("demo", help="caption a few photographs, and write a page")
    p.set_defaults(command=demo)
    p.add_argument("--model", default=CAPTIONER, metavar="PRESET", help="name or folder")
    p.add_argument("--html", default="demo/index.html", metavar="FILE")

    p = commands.add_parser("export", help="write a SavedModel for a model server")
    p.set_defaults(command=export)
    p.add_argument("preset", metavar="PRESET", help="name or folder")
    p.add_argument("saved_models", metavar="SAVED_MODELS", help="folder of all served models")
    p.add_argument("--name", default="lrcn_captioner", help="what clients ask for")

    p = commands.add_parser(
        "serve",
        help="serve exported models on this machine",
        description="For one machine. The same folder goes to the stock TensorFlow model server "
        "as it is; that both answer alike rests on the tests, which were not run against it.",
    )
    p.set_defaults(command=serve)
    p.add_argument("saved_models", metavar="SAVED_MODELS", help="folder, or a models.config")
    p.add_argument("--host", default="127.0.0.1", help="where it listens; default: this machine")
    p.add_argument("--port", type=int, default=8500, help="of gRPC")
    p.add_argument("--rest-port", type=int, default=8501)
    p.add_argument("--key", metavar="FILE", help="of TLS")
    p.add_argument("--certificate", metavar="FILE", help="of TLS")
    p.add_argument("--batch", metavar="FILE", help="merge requests as this parameters file says")
    p.add_argument("--max-message-bytes", type=_positive)
    p.add_argument("--max-in-flight", type=_positive)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
