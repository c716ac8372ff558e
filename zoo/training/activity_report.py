"""What a recipe leaves of the scores of videos: metrics, pictures, and the scores themselves."""

import pathlib

from zoo.evaluation.activity import confusion_matrix, evaluate
from zoo.evaluation.activity_scores import compare_per_class, load_scores, save_scores
from zoo.files import write_json
from zoo.visualization.confusion import draw_confusion


def write_report(scores, out, compare=None):
    """Writes what can be said of scores: `metrics.json`, `scores.npz`, `confusion.png`.

    Args:
        scores: `zoo.evaluation.activity_scores.Scores`.
        out: Path of the metrics; what lies beside it is named after it, unless it is called
            `metrics.json`.
        compare: File with the scores of another run on the same videos, or None. What changed is
            printed class by class, as in the paper's table 2.

    Returns:
        Dict of the metrics, flat.
    """
    out = pathlib.Path(out)
    metrics = evaluate(scores.probabilities, scores.labels, scores.class_names)
    prefix = "" if out.stem == "metrics" else f"{out.stem.removesuffix('-metrics')}-"
    out.parent.mkdir(parents=True, exist_ok=True)
    save_scores(out.with_name(f"{prefix}scores.npz"), *scores)
    predictions = scores.probabilities.argmax(1)
    matrix = confusion_matrix(scores.labels, predictions, len(scores.class_names))
    draw_confusion(matrix, scores.class_names, out.with_name(f"{prefix}confusion.png"))
    if compare:
        for row in compare_per_class(scores, load_scores(compare)):
            change = f"{row.difference:+7.2%}  ({row.accuracy:.2%} here, {row.baseline:.2%} there)"
            print(f"{row.class_name:30} {change}")
    write_json(out, metrics)
    return metrics
