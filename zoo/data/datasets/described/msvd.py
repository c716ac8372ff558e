"""Reader for MSVD, the Microsoft Research Video Description Corpus."""

import csv
import os
import re
import warnings

from zoo.data.datasets.described.described_video import DescribedVideo
from zoo.data.datasets.example import inside, lines_of, not_empty, split_name

TEXT_FILE = "AllVideoDescriptions.txt"
CSV_FILES = ("video_corpus.csv", "MSR Video Description Corpus.csv")
CSV_COLUMNS = ("VideoID", "Start", "End", "Language", "Description")  # of those that are read
MAPPING_FILE = "youtube_mapping.txt"
CLIP = r"(?P<clip>\S+_\d+_\d+)"  # YouTube's id, and the seconds at which the clip was cut from it
TEXT_LINE = re.compile(rf"{CLIP}(?:\s+(?P<caption>.*))?")
MAPPING_LINE = re.compile(rf"{CLIP}\s+vid(?P<number>\d+)\s*")
LIST_LINE = re.compile(rf"{CLIP}\s*")
NUMBERS = {  # of the clips of each split, in youtube_mapping.txt
    "train": range(1, 1201),
    "val": range(1201, 1301),
    "test": range(1301, 1971),
}


def msvd(root, split):
    """Reads a split of MSVD: 1,200 clips to train on, 100 to validate and 670 to test.

    The corpus is published without splits. The usual one goes by the numbers that
    `youtube_mapping.txt` gives to the clips: 1 to 1200, 1201 to 1300 and 1301 to 1970. The lists
    `train_list.txt`, `val_list.txt` and `test_list.txt` that go around for retrieval are the same
    split, and are read where that file is missing.

    Args:
        root: Folder with the clips, `YouTubeClips/<id>_<start>_<end>.avi`; with the captions,
            `AllVideoDescriptions.txt` (lines `<id>_<start>_<end> sentence`) or Microsoft's
            `video_corpus.csv`, also called `MSR Video Description Corpus.csv`; and with
            `youtube_mapping.txt` (lines `<id>_<start>_<end> vid1`), or the list of the split, a
            clip a line.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.

    Returns:
        List of `DescribedVideo` in the order of that file, with the English captions. `video_id`
        is `<id>_<start>_<end>`; these seconds tell where on YouTube the clip comes from, so
        `start` and `end` are None. A clip without an English caption is left out: users of the
        corpus report two or three of them, and some published works have 1,967 clips.

    Raises:
        FileNotFoundError: If there are no captions, or nothing that splits the clips.
        ValueError: If a line is malformed, a clip or its number comes twice, or a split is empty.

    Warns:
        UserWarning: If clips are left out, with their number.

    Source:
        Chen and Dolan, 2011. https://aclanthology.org/P11-1020
        Split: Venugopalan et al., 2015. https://arxiv.org/abs/1505.00487
    """
    clips, split_file = _clips_of(root, split_name(split))
    captions, caption_file = _read_captions(root)
    folder = os.path.join(root, "YouTubeClips")
    videos = []
    for clip, where in clips.items():
        path = inside(folder, f"{clip}.avi", where, "video")
        if clip in captions:
            videos.append(DescribedVideo(clip, path, captions[clip]))
    not_empty(videos, split_file, split, f"videos with captions in {caption_file}")
    if len(videos) < len(clips):
        warnings.warn(
            f"{len(clips) - len(videos)} of the {len(clips)} clips of {split_file} for the split "
            f'"{split}" have no English caption in {caption_file} and are left out.',
            stacklevel=2,
        )
    return videos


def _clips_of(root, split):
    """The clips of a split, `{clip: file and line}`, and the file that says so."""
    mapping_file = os.path.join(root, MAPPING_FILE)
    list_file = os.path.join(root, f"{split}_list.txt")
    if os.path.isfile(mapping_file):
        path, pattern, expected = mapping_file, MAPPING_LINE, "<id>_<start>_<end> vid<number>"
    elif os.path.isfile(list_file):
        path, pattern, expected = list_file, LIST_LINE, "<id>_<start>_<end>"
    else:
        raise FileNotFoundError(
            f"Expected {mapping_file}, a line `<id>_<start>_<end> vid1` for each clip of MSVD, or "
            f'{list_file}, the clips of the split "{split}", one a line; but there is neither.'
        )
    clips = {}
    seen = {}  # clip or number -> file and line
    for number, line in lines_of(path):
        where = f"{path}, line {number}"
        match = pattern.fullmatch(line)
        if not match:
            raise ValueError(f"{where}: expected `{expected}`, got {line!r:.200}.")
        for value in match.groups():
            if value in seen:
                raise ValueError(
                    f"{where}: expected each clip and number once, but {value!r} is in "
                    f"{seen[value]}, too."
                )
            seen[value] = where
        if pattern is LIST_LINE or int(match["number"]) in NUMBERS[split]:
            clips[match["clip"]] = where
    return clips, path


def _read_captions(root):
    """The English captions, `{clip: [sentence, ...]}`, and the file that has them."""
    names = (TEXT_FILE, *CSV_FILES)
    path = next(filter(os.path.isfile, (os.path.join(root, name) for name in names)), None)
    if path is None:
        raise FileNotFoundError(
            f"Expected the captions of MSVD, {TEXT_FILE} or {' or '.join(CSV_FILES)}, in {root}, "
            "but there is no such file."
        )
    captions = {}
    read = _text_captions if os.path.basename(path) == TEXT_FILE else _csv_captions
    for clip, caption in read(path):
        if caption and caption.strip():
            captions.setdefault(clip, []).append(caption.strip())
    return captions, path


def _text_captions(path):
    for number, line in lines_of(path):
        match = TEXT_LINE.fullmatch(line)
        if match:
            yield match["clip"], match["caption"]
        elif not line.startswith("#"):
            raise ValueError(
                f"{path}, line {number}: expected `<id>_<start>_<end> sentence`, got {line!r:.200}."
            )


def _csv_captions(path):
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = set(CSV_COLUMNS) - set(rows.fieldnames or ())
            if missing:
                raise ValueError(
                    f"{path}: expected the columns {', '.join(CSV_COLUMNS)} in the first line, got "
                    f"{rows.fieldnames!r:.200}."
                )
            for row in rows:
                if row["Language"] != "English":
                    continue
                clip = f"{row['VideoID']}_{row['Start']}_{row['End']}"
                if not LIST_LINE.fullmatch(clip):
                    raise ValueError(
                        f"{path}, line {rows.line_num}: expected an id as VideoID, and seconds as "
                        f"Start and End, got {row!r:.200}."
                    )
                yield clip, row["Description"]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path}: expected a CSV file in UTF-8, got something else ({error})."
        ) from error
