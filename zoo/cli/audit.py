"""`lrcn audit`: what is wrong with the files of a data set, before training."""

import json
import pathlib


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("audit", help="check a data set before training")
    p.set_defaults(command=run)
    p.add_argument(
        "--data",
        required=True,
        action="append",
        metavar="NAME=PATH",
        help="a data set, such as flickr8k=DIR or own=captions.json; repeat it for several",
    )
    p.add_argument("--split", default="train")
    p.add_argument("--sheet", default="audit.html", metavar="FILE", help="page of examples")
    p.add_argument("--json", action="store_true", help="for scripts")


def run(options):
    """Lists what training would stumble over, and writes a sheet of examples."""
    from zoo.data import datasets
    from zoo.inference import audit

    sources = [datasets.parse_source(text) for text in options.data]
    splits = datasets.read_sources(sources, options.split)
    examples = [example for split in splits.values() for example in split]
    problems = audit.audit(examples)
    audit.sheet(examples, options.sheet)
    if options.json:
        print(json.dumps([problem._asdict() for problem in problems], indent=1))
    else:
        for problem in problems:
            print(f"{problem.path}: {problem.problem}")
        captions = sum(len(example.captions) for example in examples)
        print(f"{len(examples)} pictures, {captions} captions, {len(problems)} problems.")
        print(f"Examples: {pathlib.Path(options.sheet).resolve()}")
    return 1 if problems else 0
