"""The labels of a video over time, as a diagram."""

import numpy as np

from zoo.files import aside

SHOWN = 5  # classes


def draw_timeline(class_names, clips, path):
    """Draws the probabilities of the likeliest classes over time.

    Args:
        class_names: List of names.
        clips: List of `(start, end, probabilities)`: seconds, and float32 `(num_classes,)`.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure  # needs no screen

    middles = [(start + end) / 2 for start, end, _ in clips]
    curves = np.stack([probabilities for *_, probabilities in clips])
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for n in np.argsort(-curves.mean(0), kind="stable")[:SHOWN]:
        axes.plot(middles, curves[:, n], marker="o", markersize=3, label=class_names[n])
    axes.set(xlabel="seconds", ylabel="probability", ylim=(-0.02, 1.02))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    with aside(path) as part:
        figure.savefig(part, dpi=120, format="png")
