"""Pictures of how a training went."""

import csv

from zoo.files import aside


def draw_curves(logs, path):
    """Draws every column of some logs over the epochs.

    Args:
        logs: Dict from a stage's name to its `log.csv`; the stages stand behind one another.
        path: PNG file to write.
    """
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed
    from matplotlib import pyplot

    curves, start = {}, 0  # name -> [(epoch, value)]
    borders = []
    for stage, log in logs.items():
        rows = read_log(log)
        for row in rows:
            for name, value in row.items():
                if name != "epoch" and value:
                    point = (start + int(row["epoch"]), float(value))
                    curves.setdefault(name, []).append(point)
        borders.append((start, stage))
        start += len(rows)
    figure, axes = pyplot.subplots(
        1, max(len(curves), 1), figsize=(5 * max(len(curves), 1), 4), squeeze=False
    )
    for axis, (name, points) in zip(axes[0], curves.items(), strict=False):
        axis.plot(*zip(*points, strict=True), marker="o")
        for border, stage in borders:
            axis.axvline(border + 0.5, color="lightgrey", zorder=0)
            axis.text(border + 0.6, 1.01, stage, transform=axis.get_xaxis_transform(), fontsize=8)
        axis.set(title=name, xlabel="epoch")
        axis.title.set_y(1.06)
    figure.tight_layout()
    with aside(path) as part:
        figure.savefig(part, dpi=100, format="png")
    pyplot.close(figure)


def read_log(path):
    """Reads a `log.csv`: a list with one dict of strings an epoch."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
