"""`lrcn prepare` writes frames once, names what it left out, and goes on where it was stopped."""

import numpy as np
import pytest
from made_videos import grey, write_video

from zoo.cli import main
from zoo.data.sources import shard_writer
from zoo.data.sources.shards import VideoShards


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in ("falls", "rises"):
        (folder / name).mkdir()
        for n in range(3):
            frames = [np.roll(f, n, axis=1) for f in grey(30 + 20 * np.arange(5 + n))]
            write_video(folder / name / f"{n}.mp4", frames, rate=10)
    (folder / "rises" / "broken.mp4").write_bytes(b"no video")
    return folder


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", *map(str, arguments)])
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


def options(clips):
    return ["--dataset", "clip_folder", "--data", clips, "--frame-size", "20x24"]


def test_videos_become_shards_and_the_broken_one_is_named(clips, tmp_path, capsys):
    code, out, err = run(capsys, tmp_path / "out", *options(clips))
    assert code == 0 and "6 videos, 36 frames" in out and "1 videos left out" in out
    assert f"left out: {clips / 'rises' / 'broken.mp4'}: " in err
    prepared = VideoShards(tmp_path / "out")
    assert prepared.class_names == ["falls", "rises"]
    assert sorted(prepared.num_frames) == [5, 5, 6, 6, 7, 7]


def test_the_same_command_again_decodes_nothing(clips, tmp_path, capsys, monkeypatch):
    run(capsys, tmp_path / "out", *options(clips))
    monkeypatch.setattr(shard_writer, "encode_video", lambda *_: 1 / 0)
    code, out, _ = run(capsys, tmp_path / "out", *options(clips))
    assert code == 0 and "6 videos, 36 frames" in out


def test_stopped_command_goes_on_where_it_was(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shard_writer, "VIDEOS_A_SHARD", 2)
    run(capsys, tmp_path / "whole", *options(clips))
    write, encode, written, decoded = shard_writer._write_shard, shard_writer.encode_video, [], []

    def stop_after_one(folder, number, *rest):
        if written:
            raise KeyboardInterrupt
        written.append(number)
        write(folder, number, *rest)

    monkeypatch.setattr(shard_writer, "_write_shard", stop_after_one)
    code, *_ = run(capsys, tmp_path / "out", *options(clips))
    assert code == 130
    monkeypatch.setattr(shard_writer, "_write_shard", write)
    monkeypatch.setattr(
        shard_writer,
        "encode_video",
        lambda path, *rest: decoded.append(path) or encode(path, *rest),
    )
    code, out, _ = run(capsys, tmp_path / "out", *options(clips))
    assert code == 0 and "6 videos, 36 frames" in out and len(decoded) == 5
    one, other = VideoShards(tmp_path / "out"), VideoShards(tmp_path / "whole")
    for row in range(6):
        assert one.read_jpegs(row, [0, 3]) == other.read_jpegs(row, [0, 3])


def test_flow_has_one_image_less_a_video(clips, tmp_path, capsys):
    code, out, _ = run(capsys, tmp_path / "out", *options(clips), "--modality", "flow")
    assert code == 0 and "6 videos, 30 frames" in out
    assert VideoShards(tmp_path / "out").modality == "flow"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--list", "{tmp}/none.txt"], "none.txt"),
        (["--dataset", "kinetics"], "one of clip_folder"),
        (["--split", "val"], "random_split"),
        (["--data", "{tmp}/nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_prepared_is_an_error_that_says_what_to_do(
    clips, tmp_path, capsys, more, message
):
    more = [text.format(tmp=tmp_path) for text in more]
    code, _, err = run(capsys, tmp_path / "out", *options(clips), *more)
    assert message in f"{code} {err}" and code != 0
    assert not (tmp_path / "out").exists()


def test_other_settings_for_a_folder_that_was_begun_are_refused(clips, tmp_path, capsys):
    run(capsys, tmp_path / "out", *options(clips))
    code, _, err = run(capsys, tmp_path / "out", *options(clips), "--rate", "5")
    assert "other settings" in f"{code} {err}"
