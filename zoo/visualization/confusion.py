"""A picture of what a model takes for what."""

import numpy as np

from zoo.files import aside

MOST_WITH_NUMBERS = 30  # classes; the cells of more are too small to be read


def draw_confusion(matrix, class_names, path):
    """Draws a confusion matrix: a row for each true class, shaded by its share of each answer.

    Counts are written into the cells while there are few classes. The row of a class without
    videos is grey.

    Args:
        matrix: What `zoo.evaluation.activity.confusion_matrix` gives.
        class_names: Names in the order of the classes.
        path: PNG file to write.

    Raises:
        ValueError: If the matrix is not one of these classes.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure  # needs no screen

    matrix = np.asarray(matrix)
    if matrix.shape != (len(class_names), len(class_names)):
        raise ValueError(
            f"Expected a row and a column for each of {len(class_names)} classes. Received "
            f"{matrix.shape}."
        )
    classes, videos = range(len(class_names)), matrix.sum(axis=1, keepdims=True)
    shares = np.full(matrix.shape, np.nan)
    np.divide(matrix, videos, out=shares, where=videos > 0)
    with_numbers = len(classes) <= MOST_WITH_NUMBERS
    cell = 0.45 if with_numbers else 0.16  # inches
    side = max(cell * len(classes), 1.8)
    figure = Figure(figsize=(side, side))  # of the cells; names stand around it
    axes = figure.add_axes((0, 0, 1, 1))
    image = axes.imshow(shares, colormaps["Blues"].with_extremes(bad="lightgrey"), vmin=0, vmax=1)
    names = {"fontsize": 9 if with_numbers else 7, "parse_math": False}
    axes.set_xticks(classes, class_names, rotation=90, **names)
    axes.set_yticks(classes, class_names, **names)
    axes.set(xlabel="recognised as", ylabel="is")
    axes.set_title(f"{np.trace(matrix)} of {matrix.sum()} videos recognised", fontsize=10)
    if with_numbers:
        for row, column in np.argwhere(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            number = str(matrix[row, column])
            axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    else:  # lines that lead from a cell to its names
        axes.set_xticks(np.arange(-0.5, len(classes)), minor=True)
        axes.set_yticks(np.arange(-0.5, len(classes)), minor=True)
        axes.grid(which="minor", color="0.93", linewidth=0.3)
        axes.tick_params(which="minor", length=0)
    bar = figure.add_axes((1 + 0.2 / side, 0, 0.15 / side, 1))  # inches, as shares of the side
    figure.colorbar(image, bar, label="share of the class's videos")
    with aside(path) as part:
        dpi = 100 if with_numbers else 150
        figure.savefig(part, dpi=dpi, bbox_inches="tight", format="png")
