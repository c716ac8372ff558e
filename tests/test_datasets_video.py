import pytest

from zoo.data.datasets import LabelledVideo, clip_folder, hmdb51, read_videos, ucf101


@pytest.fixture
def ucf101_folder(tmp_path):
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_bytes(b"1 Archery\r\n2 HandstandPushups\r\n")
    (lists / "trainlist01.txt").write_text(
        "Archery/v_Archery_g08_c01.avi 1\nHandstandPushups/v_HandStandPushups_g09_c02.avi 2\n"
    )
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g01_c03.avi\n")
    (lists / "trainlist02.txt").write_text("Archery/v_Archery_g01_c03.avi 1\n")
    return tmp_path


@pytest.fixture
def hmdb51_folder(tmp_path):
    for name, lines in {
        "wave_test_split1.txt": "a_b_wave_u_cm_np1_fr_med_0.avi 1 \nlone.avi 0 \n",
        "brush_hair_test_split1.txt": "Film_9_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n"
        "Film_9_brush_hair_u_nm_np1_ba_goo_1.avi 1\nlone.avi 2\n",
        "README": "the lists of the data set",
    }.items():
        (tmp_path / name).write_text(lines)
    return tmp_path


def test_ucf101_gives_the_videos_of_the_list_with_class_and_group(ucf101_folder):
    videos, class_names = ucf101(ucf101_folder, "train")
    assert class_names == ["Archery", "HandstandPushups"]
    archery = "Archery/v_Archery_g08_c01.avi"
    pushups = "HandstandPushups/v_HandStandPushups_g09_c02.avi"
    assert videos == [
        LabelledVideo(f"{ucf101_folder}/{archery}", 0, "v_Archery_g08", archery),
        LabelledVideo(f"{ucf101_folder}/{pushups}", 1, "v_HandStandPushups_g09", pushups),
    ]


def test_ucf101_finds_the_videos_in_the_archives_own_folder(ucf101_folder):
    (ucf101_folder / "UCF-101").mkdir()
    (video,), _ = ucf101(ucf101_folder, "test")
    assert video.path == f"{ucf101_folder}/UCF-101/Archery/v_Archery_g01_c03.avi"


@pytest.mark.parametrize("reader", [ucf101, hmdb51])
def test_val_and_dev_are_the_test_split_where_there_are_only_two(
    reader, ucf101_folder, hmdb51_folder
):
    test = reader(ucf101_folder, "test")
    assert reader(ucf101_folder, "val") == reader(ucf101_folder, "dev") == test
    assert len(test[0]) == 1 and test != reader(ucf101_folder, "train")
    with pytest.raises(ValueError, match="A split is"):
        reader(ucf101_folder, "all")


def test_fold_of_ucf101_has_its_own_lists(ucf101_folder):
    videos, _ = ucf101(ucf101_folder, "train", fold=2)
    assert [video.video_id for video in videos] == ["Archery/v_Archery_g01_c03.avi"]
    with pytest.raises(FileNotFoundError, match=r'split "test", fold 2, .*testlist02\.txt'):
        ucf101(ucf101_folder, "test", fold=2)
    with pytest.raises(ValueError, match="1, 2 and 3, got 0"):
        ucf101(ucf101_folder, "test", fold=0)


@pytest.mark.parametrize(
    "line",
    [
        "v_Archery_g01_c01.avi 1",
        "Archery",
        "Polo/v_Polo_g01_c01.avi",
        "Archery/v_Archery_g01_c01.avi 2",
        "Archery/v_Archery_g01_c01.avi one",
        "Archery/v_Archery_g01_c01.avi 1 1",
    ],
)
def test_ucf101_shows_a_malformed_line_with_its_place(ucf101_folder, line):
    with open(ucf101_folder / "ucfTrainTestlist" / "trainlist01.txt", "a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=r"trainlist01\.txt, line 3: expected `Class/video\.avi`"):
        ucf101(ucf101_folder, "train")


@pytest.mark.parametrize("line", ["4 Polo", "3", "3 Archery", "Polo 3"])
def test_ucf101_shows_a_malformed_class_with_its_place(ucf101_folder, line):
    with open(ucf101_folder / "ucfTrainTestlist" / "classInd.txt", "a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=r"classInd\.txt, line 3: expected `3 NameOfTheClass`"):
        ucf101(ucf101_folder, "train")


def test_hmdb51_gives_what_its_lists_mark(hmdb51_folder):
    videos, class_names = hmdb51(hmdb51_folder, "train")
    assert class_names == ["brush_hair", "wave"]
    names = [f"brush_hair/Film_9_brush_hair_u_nm_np1_ba_goo_{n}.avi" for n in range(2)]
    wave = "wave/a_b_wave_u_cm_np1_fr_med_0.avi"
    assert videos == [
        LabelledVideo(f"{hmdb51_folder}/{names[0]}", 0, "Film_9", names[0]),
        LabelledVideo(f"{hmdb51_folder}/{names[1]}", 0, "Film_9", names[1]),
        LabelledVideo(f"{hmdb51_folder}/{wave}", 1, "a_b", wave),
    ]
    assert [(video.video_id, video.group) for video in hmdb51(hmdb51_folder, "test")[0]] == [
        ("brush_hair/lone.avi", None)
    ]


def test_hmdb51_finds_the_archives_own_folders(hmdb51_folder):
    lists = hmdb51_folder / "testTrainMulti_7030_splits"
    lists.mkdir()
    (hmdb51_folder / "hmdb51_org").mkdir()
    for path in hmdb51_folder.glob("*.txt"):
        path.rename(lists / path.name)
    (video,), _ = hmdb51(hmdb51_folder, "test")
    assert video.path == f"{hmdb51_folder}/hmdb51_org/brush_hair/lone.avi"


def test_hmdb51_without_a_list_is_refused(hmdb51_folder):
    (hmdb51_folder / "wave_test_split2.txt").write_text("lone.avi 1\n")
    with pytest.raises(FileNotFoundError, match=r'"brush_hair" of HMDB51, fold 2, at .*split2\.'):
        hmdb51(hmdb51_folder, "train", fold=2)
    with pytest.raises(FileNotFoundError, match="Expected the lists of HMDB51"):
        hmdb51(hmdb51_folder / "nowhere", "train")


@pytest.mark.parametrize("line", ["a.avi", "a.avi 3", "a.avi one", "a b.avi 1"])
def test_hmdb51_shows_a_malformed_line_with_its_place(hmdb51_folder, line):
    with open(hmdb51_folder / "wave_test_split1.txt", "a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=r"wave_test_split1\.txt, line 3: expected `name\.avi`"):
        hmdb51(hmdb51_folder, "train")


def test_names_of_videos_that_lead_out_of_the_folder_are_refused(ucf101_folder, hmdb51_folder):
    (ucf101_folder / "ucfTrainTestlist" / "testlist01.txt").write_text("Archery/../../a.avi")
    with pytest.raises(ValueError, match="line 1: expected the name of a video inside"):
        ucf101(ucf101_folder, "test")
    (hmdb51_folder / "wave_test_split1.txt").write_text("../../a.avi 2")
    with pytest.raises(ValueError, match="line 1: expected the name of a video inside"):
        hmdb51(hmdb51_folder, "test")


def test_list_without_videos_is_refused(ucf101_folder):
    (ucf101_folder / "ucfTrainTestlist" / "testlist01.txt").write_text("\n")
    with pytest.raises(ValueError, match=r'testlist01\.txt: expected videos for the split "val"'):
        ucf101(ucf101_folder, "val")


def test_read_videos_knows_these_data_sets(ucf101_folder, hmdb51_folder, tmp_path):
    assert read_videos("ucf101", ucf101_folder, "train", fold=2) == ucf101(
        ucf101_folder, "train", 2
    )
    assert read_videos("hmdb51", hmdb51_folder, "train") == hmdb51(hmdb51_folder, "train")
    (tmp_path / "clips" / "wave").mkdir(parents=True)
    (tmp_path / "clips" / "wave" / "1.mp4").touch()
    assert read_videos("clip_folder", tmp_path / "clips") == clip_folder(tmp_path / "clips")
    with pytest.raises(ValueError, match="clip_folder, hmdb51, ucf101; got 'ucf'"):
        read_videos("ucf", ucf101_folder, "train")
