import collections

import pytest

from zoo.data.datasets import LabelledVideo, clip_folder


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def fights(tmp_path):
    make(tmp_path, "fight/1.mp4", "fight/2 men.mp4", "noFight/1.mp4", "noFight/2.MOV")
    return tmp_path


def write_list(root, *lines):
    path = root / "list.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def ids(root, *arguments, **options):
    return [video.video_id for video in clip_folder(root, *arguments, **options)[0]]


def test_list_names_videos_and_labels(fights):
    path = write_list(fights, "fight/2 men.mp4 1", "", "./noFight/1.mp4\t0")
    videos, class_names = clip_folder(fights, list_file=path)
    assert videos == [
        LabelledVideo(f"{fights}/fight/2 men.mp4", 1, None, "fight/2 men.mp4"),
        LabelledVideo(f"{fights}/noFight/1.mp4", 0, None, "noFight/1.mp4"),
    ]
    assert class_names == ["noFight", "fight"]  # by the folders that go with the ids


@pytest.mark.parametrize(
    "lines",
    [
        ["fight/1.mp4 0", "noFight/1.mp4 0", "noFight/2.MOV 1"],  # two folders, one id
        ["fight/1.mp4 0", "fight/2 men.mp4 1"],  # one folder, two ids
        ["top.mp4 0", "fight/1.mp4 1"],  # no folder
    ],
)
def test_ids_are_the_names_where_folders_do_not_match_them(fights, lines):
    make(fights, "top.mp4")
    assert clip_folder(fights, list_file=write_list(fights, *lines))[1] == ["0", "1"]


def test_ids_from_0_to_9_and_further_are_in_the_order_of_numbers(tmp_path):
    lines = [f"class{n}/a.mp4 {n}" for n in range(12)]
    make(tmp_path, *(line.split()[0] for line in lines))
    class_names = clip_folder(tmp_path, list_file=write_list(tmp_path, *lines[::-1]))[1]
    assert class_names == [f"class{n}" for n in range(12)]


def test_list_may_name_the_classes(fights):
    path = write_list(fights, "fight/1.mp4 violent", "noFight/1.mp4 calm", "noFight/2.MOV calm")
    videos, class_names = clip_folder(fights, list_file=path)
    assert ([video.label for video in videos], class_names) == ([1, 0, 0], ["calm", "violent"])


def test_classes_come_from_a_file_or_a_model(fights):
    path = write_list(fights, "fight/1.mp4 2", "noFight/1.mp4 calm")
    names = ["calm", "shouting men", "violent"]
    (fights / "classes.txt").write_text("\n".join(names) + "\n\n")
    for classes in (names, fights / "classes.txt", str(fights / "classes.txt")):
        videos, class_names = clip_folder(fights, list_file=path, classes=classes)
        assert ([video.label for video in videos], class_names) == ([2, 0], names)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fight/1.mp4", "line 2: expected `path label`, got 'fight/1.mp4'"),
        ("fight/3.mp4 1", "line 2: expected a video at .*fight/3.mp4, but there is none"),
        ("../fight/1.mp4 1", "line 2: expected the name of a video inside"),
        ("/etc/passwd 1", "line 2: expected the name of a video inside"),
        ("fight/1.mp4 2", "line 2: expected a label from 0 to 1, or one of calm, violent; got '2'"),
        ("fight/1.mp4 -1", "line 2: expected a label .* got '-1'"),
        ("fight/1.mp4 loud", "line 2: expected a label .* got 'loud'"),
        ("noFight/1.mp4 1", "line 2: 'noFight/1.mp4' has the label 1, but 0 in .*line 1"),
    ],
)
def test_line_that_cannot_be_meant_is_refused_with_its_place(fights, line, message):
    path = write_list(fights, "noFight/1.mp4 0", line)
    with pytest.raises(ValueError, match=message):
        clip_folder(fights, list_file=path, classes=["calm", "violent"])


def test_ids_and_names_in_one_list_need_the_classes(fights):
    path = write_list(fights, "fight/1.mp4 0", "noFight/1.mp4 calm")
    with pytest.raises(ValueError, match="line 2: expected a label from 0 to 0.* got 'calm'"):
        clip_folder(fights, list_file=path)


def test_ids_with_a_gap_need_the_classes(fights):
    path = write_list(fights, "fight/1.mp4 1", "noFight/1.mp4 2")  # counted from 1
    with pytest.raises(ValueError, match=r"without a gap, got \[1, 2\]\. Give the names"):
        clip_folder(fights, list_file=path)


def test_video_named_twice_is_read_once_and_reported(fights):
    path = write_list(fights, "fight/1.mp4 1", "noFight/1.mp4 0", "./fight//1.mp4 1")
    with pytest.warns(UserWarning, match=r"named again: 1 times, first in .*list\.txt, line 3"):
        assert ids(fights, list_file=path) == ["fight/1.mp4", "noFight/1.mp4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("calm\n\nviolent\n", "line 3: expected the name of class 1, .* got 'violent'"),
        ("calm\ncalm\n", "line 2: expected the name of class 1"),
        ("\n", "found none"),
    ],
)
def test_malformed_file_of_classes_is_refused(fights, text, message):
    (fights / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        clip_folder(fights, classes=fights / "classes.txt")


def test_missing_files_are_named(fights):
    with pytest.raises(FileNotFoundError, match=r"a list of videos, .* at .*none\.txt"):
        clip_folder(fights, list_file=fights / "none.txt")
    with pytest.raises(FileNotFoundError, match=r"names of the classes, .* at .*none\.txt"):
        clip_folder(fights, classes=fights / "none.txt")
    with pytest.raises(FileNotFoundError, match="folder of videos at .*nowhere"):
        clip_folder(fights / "nowhere")


def test_class_folders_are_read_in_order_of_the_alphabet(fights):
    make(fights, "list.txt", ".cache/1.mp4", "fight/.1.mp4", "fight/notes.txt")
    videos, class_names = clip_folder(fights)
    assert class_names == ["fight", "noFight"]
    assert videos == [
        LabelledVideo(f"{fights}/fight/1.mp4", 0, None, "fight/1.mp4"),
        LabelledVideo(f"{fights}/fight/2 men.mp4", 0, None, "fight/2 men.mp4"),
        LabelledVideo(f"{fights}/noFight/1.mp4", 1, None, "noFight/1.mp4"),
        LabelledVideo(f"{fights}/noFight/2.MOV", 1, None, "noFight/2.MOV"),
    ]


def test_folder_of_raw_frames_is_a_video(fights):
    make(fights, "fight/v_fight_g07_c01/frame1.JPG", "fight/v_fight_g07_c01/frame2.JPG")
    (fights / "fight" / "empty").mkdir()
    video = clip_folder(fights)[0][2]
    name = "fight/v_fight_g07_c01"
    assert video == LabelledVideo(f"{fights}/{name}", 0, "v_fight_g07", name)
    assert ids(fights, list_file=write_list(fights, f"{name} 0")) == [name]


def test_class_folder_without_videos_is_refused(fights):
    make(fights, "quarrel/notes.txt")
    with pytest.raises(ValueError, match=r"quarrel: expected the videos of a class, .*\.mp4"):
        clip_folder(fights)
    with pytest.raises(ValueError, match="expected videos, found none"):
        clip_folder(fights / "quarrel")


def test_class_folders_must_be_among_the_classes(fights):
    videos, _ = clip_folder(fights, classes=["noFight", "fight", "quarrel"])
    assert [video.label for video in videos] == [1, 1, 0, 0]
    with pytest.raises(ValueError, match=r"for classes that are none: noFight\. Expected only a, "):
        clip_folder(fights, classes=["a", "fight"])


def test_folders_called_like_splits_are_the_splits(tmp_path):
    make(tmp_path, "train/wave/1.avi", "train/bow/1.avi", "val/wave/2.avi", "test/wave/3.avi")
    assert ids(tmp_path, "train") == ["train/bow/1.avi", "train/wave/1.avi"]
    assert ids(tmp_path, "dev") == ids(tmp_path, "val") == ["val/wave/2.avi"]
    assert ids(tmp_path, "test") == ["test/wave/3.avi"]
    assert len(ids(tmp_path)) == 4
    (video,), class_names = clip_folder(tmp_path, "val")
    assert (video.label, class_names) == (1, ["bow", "wave"])  # as in training


def test_second_of_two_parts_is_both_val_and_test(tmp_path):
    make(tmp_path, "train/wave/1.avi", "test/wave/3.avi")
    assert ids(tmp_path, "val") == ids(tmp_path, "test") == ["test/wave/3.avi"]
    make(tmp_path / "less", "test/wave/3.avi")
    with pytest.raises(ValueError, match='folder for the split "train" in .*, found test'):
        clip_folder(tmp_path / "less", "train")


def test_nothing_is_split_at_random_unless_asked_for(fights):
    path = write_list(fights, "fight/1.mp4 0")
    with pytest.raises(ValueError, match="Nothing says which videos of .*random_split=0.2"):
        clip_folder(fights, "train")
    with pytest.raises(ValueError, match=r"Nothing says which videos of .*list\.txt"):
        clip_folder(fights, "train", list_file=path)


@pytest.mark.parametrize("share", [0, 1, -0.5, 20])
def test_share_that_is_none_is_refused(fights, share):
    with pytest.raises(ValueError, match=f"between 0 and 1, .*got {share} for"):
        clip_folder(fights, "train", random_split=share)


def test_what_is_split_is_not_split_again(tmp_path):
    make(tmp_path, "train/wave/1.avi", "val/wave/2.avi")
    with pytest.raises(ValueError, match="not split into the folders"):
        clip_folder(tmp_path, "train", random_split=0.5)


def test_random_split_keeps_groups_together_and_classes_in_proportion(tmp_path):
    for name, groups in {"bow": 10, "wave": 20}.items():
        for g in range(groups):
            make(tmp_path, *(f"{name}/v_{name}_g{g:02}_c{c:02}.avi" for c in range(1 + g % 4)))
    train, _ = clip_folder(tmp_path, "train", random_split=0.25, seed=3)
    test, _ = clip_folder(tmp_path, "test", random_split=0.25, seed=3)
    assert sorted(train + test) == sorted(clip_folder(tmp_path)[0])
    assert not {video.group for video in train} & {video.group for video in test}
    counts = collections.Counter(video.label for video in test)
    assert abs(counts[0] - 23 / 4) <= 2 and abs(counts[1] - 50 / 4) <= 2  # groups have up to 4


def test_random_split_is_told_by_its_seed_alone(tmp_path):
    names = [f"{label}/{n}.avi" for label in ("bow", "wave") for n in range(20)]
    make(tmp_path, *names)
    held_out = ids(tmp_path, "val", random_split=0.2, seed=1)
    assert held_out == ids(tmp_path, "test", random_split=0.2, seed=1)
    assert held_out != ids(tmp_path, "val", random_split=0.2, seed=2)
    lines = [f"{name} {name.split('/')[0]}" for name in reversed(names)]
    listed = ids(tmp_path, "val", write_list(tmp_path, *lines), random_split=0.2, seed=1)
    assert sorted(listed) == held_out
    assert collections.Counter(name.split("/")[0] for name in held_out) == {"bow": 4, "wave": 4}


def test_group_that_spans_classes_stays_together(tmp_path):
    for g in range(8):
        make(tmp_path, f"bow/film_g{g}_c1.avi", f"wave/film_g{g}_c2.avi")
    train, test = (clip_folder(tmp_path, s, random_split=0.5)[0] for s in ("train", "test"))
    assert len(train) == len(test) == 8
    assert not {video.group for video in train} & {video.group for video in test}
