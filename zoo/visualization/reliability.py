"""A picture of how well confidences are calibrated."""

import numpy as np

from zoo.files import aside


def draw_reliability(report, path):
    """Draws the share of right captions over the confidence: the diagonal is perfect.

    Args:
        report: Report of a `ConfidenceFit`.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure  # needs no screen

    rows = [row for row in report["reliability"] if row["images"]]
    confidences = np.array([row["mean_confidence"] for row in rows])
    shares = np.array([row["share_right"] for row in rows])
    counts = np.array([row["images"] for row in rows])
    errors = np.sqrt(shares * (1 - shares) / counts)  # standard error of a share
    centers = np.array([(row["from"] + row["to"]) / 2 for row in rows])
    threshold = report["fitted_on_all"]["threshold"]

    figure = Figure(figsize=(5, 6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color="lightgrey", label="perfect")
    upper.errorbar(confidences, shares, errors, marker="o", capsize=3, label="measured")
    upper.axvline(threshold, color="grey", linestyle=":", label="unsure below")
    scores = report["all"]
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of right captions")
    upper.set_title(
        f"{scores['images']} images not fitted on: AUROC {scores['auroc']:.3f}, "
        f"Brier score {scores['brier']:.3f}",
        fontsize=10,
    )
    upper.legend(loc="upper left")
    lower.bar(centers, counts, width=0.8 / len(report["reliability"]))
    lower.set(xlabel="confidence", ylabel="images")
    figure.tight_layout()
    with aside(path) as part:
        figure.savefig(part, dpi=100, format="png")
