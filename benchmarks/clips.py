"""Videos from disk to batches of clips for training: ours, and a PyTorch `DataLoader` beside it.

    python benchmarks/clips.py [--data DIR]

A turn is some batches in the midst of an epoch: of each clip 16 frames are read and brought to
240 x 320 pixels, and the same square of 224 is cut out of all of them, mirrored by chance. The
first table reads JPEG frames, ours from what `lrcn prepare` wrote, the peer's from a file each;
the second one reads video files. Both sides take the same clips in the same order, and have to
give the same batch, but for rounding.
"""

import argparse
import itertools
import pathlib
import tempfile

import numpy as np
from harness import OURS, PEER, compare, finish, print_head, same_pixels
from sample_files import make_videos

from zoo.data.batches.clips import clip_batches, draw_clips
from zoo.data.datasets.activities.clip_folder import VIDEO_FILES
from zoo.data.datasets.activities.labeled_video import LabelledVideo
from zoo.data.sources.files import VideoFiles
from zoo.data.sources.shard_writer import VideoShards, prepare
from zoo.data.videos.clips import CLIP_LENGTH, FRAME_SIZE, clip_frames, random_start

FRAMES_GOAL, FILES_GOAL = 1.5, 1.0
SIZE, BATCH_SIZE = 224, 8
BATCHES = 16  # a turn
SEED = 7


def main(arguments=None):
    """Prints both tables."""
    parser = argparse.ArgumentParser(description="Times batches of clips.")
    parser.add_argument("--data", metavar="DIR", help="videos; default: made from photographs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE", help="write the figures, for scripts")
    options = parser.parse_args(arguments)
    num_clips = (
        (options.rounds + 1) * BATCHES * BATCH_SIZE
    )  # all are read: nothing hangs at the end
    settings = {"batches": BATCHES, "batch_size": BATCH_SIZE, "size": SIZE}
    with tempfile.TemporaryDirectory() as folder:
        shards, frames = f"{folder}/shards", f"{folder}/frames"
        videos = list_videos(options.data or make_videos(f"{folder}/videos"))
        prepared = prepare(videos, ["a class"], shards, frame_size=FRAME_SIZE)
        write_frames(prepared, frames)
        ours = {**settings, "num_clips": num_clips}

        def sides(name, our_place, peers_place, source):
            clips = draw(source, num_clips)
            return {
                OURS: (f"clips:{name}", {**ours, "place": our_place}),
                PEER: (f"torch_clips:{name}", {**settings, "place": peers_place, "clips": clips}),
            }

        each = f"{BATCHES} batches of {BATCH_SIZE} clips"
        print_head()
        sides_of_frames = sides("from_frames", shards, frames, prepared)
        rows = [
            compare(
                f"JPEG frames, {each}", sides_of_frames, same_pixels, FRAMES_GOAL, options.rounds
            )
        ]
        paths = [video.path for video in videos]
        sides_of_files = sides("from_files", paths, paths, VideoFiles(videos))
        print_head()
        rows.append(
            compare(f"video files, {each}", sides_of_files, same_pixels, FILES_GOAL, options.rounds)
        )
    finish(rows, options.json)


def from_frames(place, **settings):
    """Gets our side ready for JPEG frames."""
    return _clips(VideoShards(place), **settings)


def from_files(place, **settings):
    """Gets our side ready for video files."""
    return _clips(VideoFiles([LabelledVideo(path, 0) for path in place]), **settings)


def _clips(source, batches, batch_size, size, num_clips):
    rows = choose(source, num_clips)
    epoch = iter(
        clip_batches(
            source, rows, FRAME_SIZE, size, True, CLIP_LENGTH, batch_size, 1, SEED, epoch=0
        )
    )

    def turn():
        for frames, _, _ in itertools.islice(epoch, batches):
            last = frames
        return last.numpy()

    return turn


def choose(source, num_clips):
    """Which video each clip comes from, all of them equally often."""
    return np.arange(num_clips) % len(source.num_frames)


def draw(source, num_clips):
    """Draws the clips that `zoo.data.batches.clips.clip_batches` draws in its first epoch.

    Returns:
        List of a clip each: `(video, frames, top, left, mirrored)`, pixels in 240 x 320.
    """
    order, chances = draw_clips(num_clips, BATCH_SIZE, 1, SEED, 0)
    room = np.array(FRAME_SIZE, "float32") - SIZE
    clips = []
    for row, chance in zip(
        choose(source, num_clips)[order.ravel()].tolist(), chances.reshape(-1, 4), strict=True
    ):
        num_frames = int(source.num_frames[row])
        frames, _ = clip_frames(random_start(chance[0], num_frames), num_frames)
        top, left = np.rint(chance[2:] * room).astype(int).tolist()
        clips.append((row, frames.tolist(), top, left, bool(chance[1] < 0.5)))
    return clips


def list_videos(folder):
    """Lists the video files in a folder and below."""
    files = sorted(pathlib.Path(folder).rglob("*"))
    videos = [LabelledVideo(str(file), 0) for file in files if file.suffix.lower() in VIDEO_FILES]
    if not videos:
        raise SystemExit(f"{folder} has no videos.")
    return videos


def write_frames(shards, folder):
    """Writes the JPEGs of shards to files, as `folder/video/frame.jpg`."""
    for row, num_frames in enumerate(shards.num_frames):
        video = pathlib.Path(folder, str(row))
        video.mkdir(parents=True)
        for n, jpeg in enumerate(shards.read_jpegs(row, range(num_frames))):
            (video / f"{n:05}.jpg").write_bytes(jpeg)


if __name__ == "__main__":
    main()
