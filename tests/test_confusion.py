"""The picture of a confusion matrix: what is dark, what is grey, what can be read."""

import numpy as np
import pytest
from PIL import Image

from zoo.visualization.confusion import draw_confusion

DARKEST = (8, 48, 107)  # all videos of a class
GREY = (211, 211, 211)  # no videos


def draw(folder, matrix, names=None):
    """Draws, and reads the picture back: uint8 `(height, width, 3)`."""
    names = names or [f"class {i}" for i in range(len(matrix))]
    draw_confusion(np.array(matrix), names, folder / "confusion.png")
    assert [file.name for file in folder.iterdir()] == ["confusion.png"]  # nothing beside it
    return np.asarray(Image.open(folder / "confusion.png").convert("RGB"))


def places(picture, colour):
    return np.argwhere((picture == colour).all(axis=-1))


def test_true_classes_are_rows_and_answers_columns(tmp_path):
    for row, column in ((0, 3), (3, 0)):
        matrix = np.zeros((4, 4), int)
        matrix[row, column] = 7  # one dark cell, in a corner; the other rows are grey
        picture = draw(tmp_path, matrix)
        (y, x), (middle_y, middle_x) = (
            np.median(places(picture, colour), axis=0) for colour in (DARKEST, GREY)
        )
        assert (y > middle_y, x > middle_x) == (row == 3, column == 3)


def test_class_without_videos_is_grey(tmp_path):
    assert len(places(draw(tmp_path, np.eye(3, dtype=int)), GREY)) < 50  # edges of letters
    assert len(places(draw(tmp_path, np.diag([1, 0, 1])), GREY)) > 3 * 40 * 40


def test_counts_are_written_while_there_are_few_classes(tmp_path):
    for num_classes, written in ((2, True), (31, False)):
        even, uneven = 3 * np.eye(num_classes, dtype=int), 3 * np.eye(num_classes, dtype=int)
        uneven[0, 0], uneven[1, 1] = 2, 4  # the same shares, the same sum
        same = np.array_equal(draw(tmp_path, even), draw(tmp_path, uneven))
        assert same == (not written)


@pytest.mark.parametrize("num_classes", [1, 2, 10, 101])
def test_every_class_has_room_for_its_name(tmp_path, num_classes):
    names = [f"BoxingPunchingBag{i}" for i in range(num_classes)]
    height, width, _ = draw(tmp_path, np.eye(num_classes, dtype=int), names).shape
    assert 20 * num_classes < height < 4000
    assert 20 * num_classes < width < 4000


def test_any_name_can_be_drawn(tmp_path):
    draw(tmp_path, np.eye(3, dtype=int), [r"$\frac$", "a_b^c{", ""])


def test_matrix_of_other_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"each of 2 classes. Received \(3, 3\)"):
        draw_confusion(np.eye(3, dtype=int), ["a", "b"], tmp_path / "confusion.png")
