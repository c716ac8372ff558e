"""`lrcn presets`: the trained models that come with the package."""

import json

SCORES = ("bleu_4", "cider", "exact", "exact_tuple", "top_1")


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("presets", help="list the trained models that come along")
    p.set_defaults(command=run)
    p.add_argument("--json", action="store_true", help="for scripts")


def run(options):
    """Lists names, tasks, sizes and scores."""
    from zoo.presets import presets

    found = presets()
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    for name, about in found.items():
        scores = about.get("scores", {})
        shown = [f"{key} {scores[key]:.3f}" for key in SCORES if key in scores]
        print(f"{name}\n  {about['task']}, trained on {about.get('data')}, ", end="")
        print(f"{about['megabytes']:.1f} MB; {', '.join(shown)}")
    return 0
