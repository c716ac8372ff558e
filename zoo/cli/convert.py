"""`lrcn convert`: a preset out of weights that Caffe saved, the authors' own among them."""

import functools
import json

CAPTIONER = "lrcn_captioner"
RECOGNIZERS = ("lrcn_activity_recognizer", "single_frame_recognizer")


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser(
        "convert",
        help="make a preset of a .caffemodel, such as the authors'",
        description="Reads the weights that Caffe saved, says where each of them went, and writes "
        "a preset. README.md says where the authors published theirs.",
    )
    p.set_defaults(command=run, check=functools.partial(_check, p))
    p.add_argument("file", metavar="FILE.caffemodel")
    p.add_argument("--to", required=True, choices=(*RECOGNIZERS, CAPTIONER))
    p.add_argument("--vocabulary", metavar="FILE", help="of a captioner: the authors', or ours")
    p.add_argument(
        "--classes",
        metavar="FILE",
        help="of an activity net: names, one a line, or UCF101's classInd.txt",
    )
    p.add_argument(
        "--modality",
        choices=("rgb", "flow"),
        help="of an activity net; default: flow where the name of the file says so, or rgb",
    )
    p.add_argument(
        "--check-layers",
        metavar="VIDEO",
        help="of the LRCN on RGB: compare its layers with what the authors noted of "
        "v_JugglingBalls_g01_c02 or v_MilitaryParade_g05_c03 of UCF101",
    )
    p.add_argument("--json", action="store_true", help="for scripts")
    p.add_argument("folder", metavar="OUT", help="folder of the preset; replaces an earlier one")


def _check(parser, options):
    wants, other = (
        ("vocabulary", "classes") if options.to == CAPTIONER else ("classes", "vocabulary")
    )
    if not getattr(options, wants):
        parser.error(f"--to {options.to} needs --{wants} FILE")
    if getattr(options, other):
        parser.error(f"--{other} does not go with --to {options.to}")
    if options.check_layers and options.to != RECOGNIZERS[0]:
        parser.error(f"--check-layers does not go with --to {options.to}")
    if options.modality and options.to == CAPTIONER:
        parser.error(f"--modality does not go with --to {options.to}")


def run(options):
    """Converts, and prints the report."""
    from zoo.cli.layer_check import check_layers, find_video
    from zoo.convert.caffe.convert import convert
    from zoo.text.vocabulary import Vocabulary

    if options.check_layers:
        find_video(options.check_layers)  # before anything that takes time
    if options.to == CAPTIONER:
        words = Vocabulary.load_authors(options.vocabulary)
    else:
        words = read_classes(options.classes)
    conversion = convert(options.file, options.to, words, options.folder, options.modality)
    comparison = conversion.comparison
    rows = check_layers(conversion.model, options.check_layers) if options.check_layers else []
    if options.json:
        report = {
            "file": options.file,
            "preset": options.folder,
            "about": conversion.about,
            "blobs": [blob._asdict() for blob in conversion.moved],
            "fingerprint": comparison and {**comparison._asdict(), "says": comparison.sentence},
            "layers": rows,
        }
        print(json.dumps(report, indent=1))
        return 0
    print_table(conversion.moved)
    print(conversion.about)
    print(
        comparison.sentence
        if comparison
        else "No minima and maxima are known of an authors' file with these layers."
    )
    print(f"The preset is in {options.folder}.")
    for name, theirs, ours in rows:
        print(f"{name:30} authors {theirs:10.4f}  here {ours:10.4f}")
    return 0


def read_classes(path):
    """Reads names of classes, one a line, or those of UCF101's `classInd.txt`, numbers before."""
    from zoo.data.datasets.activities.clip_list import read_class_names
    from zoo.data.datasets.activities.ucf101 import read_class_index

    names = read_class_names(path)
    return read_class_index(path) if names[0].startswith("1 ") else names


def print_table(moved):
    """Prints where each blob went, in columns."""
    rows = [("layer", "blob", "in Caffe", "in Keras", "", "minimum", "maximum")]
    for blob in moved:
        before = "x".join(map(str, blob.shape))
        after = "x".join(map(str, blob.variable_shape))
        numbers = (f"{blob.minimum:.6f}", f"{blob.maximum:.6f}")
        rows.append((blob.layer, str(blob.blob), before, blob.variable, after, *numbers))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=False)]
        cells += [cell.rjust(width) for cell, width in zip(row[5:], widths[5:], strict=True)]
        print("  ".join(cells).rstrip())
