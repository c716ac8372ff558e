"""Processes that each do their part do together what one alone does, killed ones included."""

import filecmp
import os
import pathlib
import subprocess
import sys
import time

import pytest
from made_videos import numbered, write_video

from zoo.cli import main
from zoo.data.datasets.activities.labeled_video import LabelledVideo
from zoo.data.sources import shard_writer
from zoo.data.sources.parts import part_of
from zoo.data.sources.shard_writer import VideoShards, prepare
from zoo.files import aside

NAMES = ["left", "right"]
PROGRAM = """
import sys
from zoo.cli import main
from zoo.data.sources import shard_writer
shard_writer.VIDEOS_A_SHARD = 2
main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shard_writer, "VIDEOS_A_SHARD", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eleven videos in two classes, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("videos")
    for name in NAMES:
        (folder / name).mkdir()
    for name in NAMES:
        frames = [numbered(t, 240, 320) for t in range(40)]
        first = write_video(folder / name / "0.mp4", frames)
        for n in range(1, 5):
            os.link(first, folder / name / f"{n}.mp4")
    (folder / "left" / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture
def videos(folder):
    paths = sorted(folder.glob("*/*.mp4"))
    return [LabelledVideo(str(p), NAMES.index(p.parent.name)) for p in paths]


def assert_same_files(one, other):
    names = sorted(os.listdir(one))
    assert names == sorted(os.listdir(other))
    _, different, missing = filecmp.cmpfiles(one, other, names, shallow=False)
    assert not different and not missing


@pytest.mark.parametrize("run", [1, 3])
@pytest.mark.parametrize("parts", [1, 3, 8])
def test_every_item_is_in_one_part_and_runs_stay_together(parts, run):
    items = list(range(17))
    taken = [part_of(items, (number, parts), run) for number in range(parts)]
    assert sorted(sum(taken, [])) == items
    for mine in taken:
        starts = [item for item in mine if item % run == 0]
        assert mine == [i for start in starts for i in range(start, min(start + run, 17))]


def test_whoever_writes_the_last_part_completes_the_folder(videos, tmp_path):
    whole = prepare(videos, NAMES, tmp_path / "whole")
    for number in (2, 0):
        assert prepare(videos, NAMES, tmp_path / "parts", part=(number, 3)) is None
        with pytest.raises(ValueError, match="not complete"):
            VideoShards(tmp_path / "parts")
    last = prepare(videos, NAMES, tmp_path / "parts", part=(1, 3))
    assert last.video_ids == whole.video_ids and list(last.skipped) == list(whole.skipped)
    assert_same_files(tmp_path / "whole", tmp_path / "parts")


def test_more_parts_than_shards_leave_some_processes_nothing_to_do(videos, tmp_path):
    for number in reversed(range(9)):
        done = prepare(videos, NAMES, tmp_path / "parts", part=(number, 9))
    assert len(done) == 10


def test_a_part_of_other_videos_or_settings_is_refused(videos, tmp_path):
    prepare(videos, NAMES, tmp_path / "parts", part=(0, 2))
    with pytest.raises(ValueError, match="rate was None and is now 5"):
        prepare(videos, NAMES, tmp_path / "parts", rate=5, part=(1, 2))
    with pytest.raises(ValueError, match="videos are not the same"):
        prepare(videos[1:], NAMES, tmp_path / "parts", part=(1, 2))


def test_a_part_that_another_process_wrote_meanwhile_is_no_error(videos, tmp_path, monkeypatch):
    write, out = shard_writer._write_json, tmp_path / "parts"

    def finished_by_another(path, content):
        if path.endswith("shard-00000.json") and not os.path.exists(path):
            monkeypatch.setattr(shard_writer, "_write_json", write)
            ours = [file for file in os.listdir(out) if file.endswith(".part")]
            assert prepare(videos, NAMES, out) is not None  # it clears up what is left, also ours
            assert not ours
        write(path, content)

    monkeypatch.setattr(shard_writer, "_write_json", finished_by_another)
    assert len(prepare(videos, NAMES, out, part=(0, 2))) == 10


def command(folder, out, number):
    data = ["--dataset", "clip_folder", "--data", folder, "--shard", f"{number}/2"]
    return [sys.executable, "-c", PROGRAM, "prepare", out, *data, "--workers", "1"]


@pytest.mark.slow
def test_processes_that_are_killed_or_started_twice_spoil_nothing(folder, tmp_path, capsys):
    out = tmp_path / "parts"
    started = [
        subprocess.Popen(
            list(map(str, command(folder, out, number))),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for number in (1, 2, 2)  # the second part twice
    ]
    deadline = time.monotonic() + 120
    while not list(out.glob("shard-*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    victim = next(out.glob("shard-*.part")).name.split(".")[-2]  # amid its shard
    killed = next(process for process in started if str(process.pid) == victim)
    killed.kill()
    said = [process.communicate()[0] for process in started]
    codes = [process.returncode for process in started]
    assert [code == 0 for code in codes] == [process is not killed for process in started]
    assert "others are not there yet" in "".join(said) or "10 videos" in "".join(said)
    data = ["--dataset", "clip_folder", "--data", str(folder)]
    with pytest.raises(SystemExit) as stopped:  # all that is missing, in one process
        main(["prepare", str(out), *data])
    assert stopped.value.code == 0 and "10 videos, 400 frames" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["prepare", str(tmp_path / "whole"), *data])
    assert_same_files(tmp_path / "whole", out)


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "-1/4", "a/b", "1/2/3", "1/0"])
def test_a_part_that_cannot_be_is_refused(text, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", str(tmp_path), "--dataset", "ucf101", "--data", "x", f"--shard={text}"])
    assert stopped.value.code == 2
    assert f"expected I/N, such as 1/16 to 16/16, got {text}" in capsys.readouterr().err


def test_machines_that_share_a_folder_write_aside_under_names_of_their_own(tmp_path, monkeypatch):
    names = set()
    for host in ("node1", "node2"):  # in containers process numbers are alike
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        with aside(tmp_path / "features.npy") as part:
            pathlib.Path(part).write_bytes(b"features")
            names.add(part)
    assert len(names) == 2 and [path.name for path in tmp_path.iterdir()] == ["features.npy"]
