"""`lrcn digits`: videos of moving digits, for the presets that know nothing else."""

from zoo.cli.arguments import positive


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser("digits", help="write videos of moving digits, to try presets on")
    p.set_defaults(command=run)
    p.add_argument("folder", metavar="FOLDER", help="where the videos go")
    p.add_argument("--count", type=positive, default=3, metavar="N", help="videos of each kind")
    p.add_argument("--seed", type=int, default=0)


def run(options):
    """Writes the videos and prints what each shows."""
    from zoo.data.videos.sample_videos import write_digit_videos

    for path, shown in write_digit_videos(options.folder, options.count, options.seed):
        print(f"{path}  {shown}")
    return 0
