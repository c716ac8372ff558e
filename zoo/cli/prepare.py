"""`lrcn prepare`: decodes videos once, so that training reads only the frames that it needs."""

import sys

from zoo.cli.arguments import add_shard, add_videos, frame_size, positive, read_videos


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser(
        "prepare",
        help="turn videos into TFRecord files of frames, once, before training",
        description="Writes TFRecord files of JPEG frames; killed and given again, it goes on. "
        "Train on them with --dataset shards --data OUT, where OUT/train and OUT/val lie.",
    )
    p.set_defaults(command=run)
    p.add_argument("out", metavar="OUT", help="folder to write, such as frames/train")
    p.add_argument("--dataset", required=True, metavar="NAME", help="clip_folder, hmdb51, ucf101")
    add_videos(p)
    p.add_argument("--modality", default="rgb", choices=["rgb", "flow"])
    p.add_argument("--rate", type=float, help="frames per second; default: the video's own")
    p.add_argument("--frame-size", type=frame_size, default=(240, 320), metavar="HEIGHTxWIDTH")
    p.add_argument("--workers", type=positive, default=2, metavar="N", help="videos at a time")
    add_shard(p, "write the I-th of N parts; processes and machines share OUT; default: all")


def run(options):
    """Prepares the videos, and names those that could not be read."""
    from zoo.data.sources.shard_writer import prepare

    videos, class_names = read_videos(options)
    shards = prepare(
        videos,
        class_names,
        options.out,
        options.rate,
        options.frame_size,
        options.modality,
        options.workers,
        part=options.shard,
    )
    if shards is None:
        number, parts = options.shard
        print(f"Part {number + 1} of {parts} is in {options.out}; others are not there yet.")
        return 0
    for path, reason in shards.skipped.items():
        print(f"left out: {path}: {reason}", file=sys.stderr)
    print(f"{len(shards)} videos, {shards.num_frames.sum()} frames in {options.out}; ", end="")
    print(f"{len(shards.skipped)} videos left out.")
    return 0
