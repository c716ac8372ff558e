"""Reader for MSR-VTT."""

import os

from zoo.data.datasets.described.described_video import DescribedVideo
from zoo.data.datasets.example import field, inside, not_empty, parsed_json, split_name

TRAIN_VAL_FILE = "train_val_videodatainfo.json"
TEST_FILE = "test_videodatainfo.json"
WHOLE_FILES = ("videodatainfo_2016.json", "videodatainfo_2017.json", "MSRVTT_data.json")


def msrvtt(root, split):
    """Reads a split of MSR-VTT: 6,513 videos to train on, 497 to validate and 2,990 to test.

    Args:
        root: Folder with `train_val_videodatainfo.json` and `test_videodatainfo.json`, or with
            one file for all splits, `videodatainfo_2016.json`, `videodatainfo_2017.json` or
            `MSRVTT_data.json`; and with the videos, `TrainValVideo/video0.mp4` and
            `TestVideo/video7010.mp4`, or all of them in `videos/all/` or in `videos/`.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.

    Returns:
        List of `DescribedVideo` in the order of the file; `video_id` is `video0` and so on. The
        times in the file tell where on YouTube a video comes from, so `start` and `end` are None.
        A video without a sentence has no captions.

    Raises:
        FileNotFoundError: If the file for the split is not there.
        ValueError: If it is not in this form, or the split is empty.

    Source:
        Xu, Mei, Yao and Rui, 2016. https://doi.org/10.1109/CVPR.2016.571
    """
    split = split_name(split)
    path = _file_of(root, split)
    contents = parsed_json(path)
    folder = _video_folder(root, split)
    captions = {}
    for number, sentence in enumerate(field(contents, "sentences", list, path)):
        where = f"{path}, sentences[{number}]"
        sentences = captions.setdefault(field(sentence, "video_id", str, where), [])
        sentences.append(field(sentence, "caption", str, where).strip())
    mark = {"val": "validate"}.get(split, split)
    videos = []
    for number, video in enumerate(field(contents, "videos", list, path)):
        where = f"{path}, videos[{number}]"
        video_id = field(video, "video_id", str, where)
        if field(video, "split", str, where) == mark:
            video_path = inside(folder, f"{video_id}.mp4", where, "video")
            videos.append(DescribedVideo(video_id, video_path, captions.get(video_id, [])))
    return not_empty(videos, path, split, "videos")


def _file_of(root, split):
    own_file = os.path.join(root, TEST_FILE if split == "test" else TRAIN_VAL_FILE)
    whole_files = [os.path.join(root, name) for name in WHOLE_FILES]
    path = next(filter(os.path.isfile, (own_file, *whole_files)), None)
    if path is None:
        raise FileNotFoundError(
            f'Expected the sentences of MSR-VTT\'s split "{split}" at {own_file}, or those of all '
            f"splits in {' or '.join(WHOLE_FILES)} beside it, but there is no such file."
        )
    return path


def _video_folder(root, split):
    """The folder of the videos under `root`, or the archive's own where there is none."""
    names = ("TestVideo" if split == "test" else "TrainValVideo", "videos/all", "videos")
    folders = [os.path.join(root, name) for name in names]
    return next(filter(os.path.isdir, folders), folders[0])
