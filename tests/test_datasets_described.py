import json
import os
import warnings

import numpy as np
import pytest

from zoo.data.datasets import (
    DescribedVideo,
    label_ids,
    label_probabilities,
    msrvtt,
    msvd,
    own_videos,
    read_described,
    roles_of,
    tacos,
)

CSV_HEADER = "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
CUT = {"activity": "cut", "object": "carrot", "tool": "knife", "source": "none", "target": "none"}
ROLES = {"activity": ["none", "cut"], "tool": ["none", "knife", "peeler"]}


def write_json(path, contents):
    path.write_text(json.dumps(contents), encoding="utf-8")
    return path


def video_ids(videos):
    return [video.video_id for video in videos]


@pytest.fixture
def msvd_folder(tmp_path):
    (tmp_path / "AllVideoDescriptions.txt").write_text(
        "# Descriptions of the clips\n\n-a_b_1_5 A man  cuts. \nc_0_2 A dog runs.\n"
        "-a_b_1_5 A man is cutting\nd_3_4 A cat sleeps.\ne_3_4 \nf_1_2 In no split.\n"
    )
    (tmp_path / "youtube_mapping.txt").write_bytes(
        b"c_0_2 vid1\r\n-a_b_1_5 vid1200\r\nd_3_4 vid1201\r\ng_3_4 vid1300\r\n"
        b"d_5_6 vid1301\r\nc_3_9 vid1970\r\nf_1_2 vid1971\r\n"
    )
    return tmp_path


@pytest.fixture
def msvd_csv_folder(msvd_folder):
    os.remove(msvd_folder / "AllVideoDescriptions.txt")
    (msvd_folder / "video_corpus.csv").write_text(
        CSV_HEADER
        + 'c,0,2,7,clean,30,English,"A dog, brown, ""runs"".\n"\n\n'
        + "c,0,2,7,clean,30,French,Un chien court.\n"
        + "-a_b,1,5,8,unverified,,English,\n"
        + "c,0,2,9,clean,30,English\n"
        + "-a_b,1,5,8,unverified,9,English, A man cuts.\n",
        encoding="utf-8-sig",
    )
    return msvd_folder


@pytest.fixture
def msrvtt_folder(tmp_path):
    write_json(
        tmp_path / "train_val_videodatainfo.json",
        {
            "videos": [
                {"video_id": "video1", "split": "validate", "start time": 3.5, "end time": 9.0},
                {"video_id": "video0", "split": "train", "start time": 1.0, "end time": 2.0},
            ],
            "sentences": [
                {"sen_id": 0, "video_id": "video0", "caption": "a dog runs "},
                {"sen_id": 1, "video_id": "video1", "caption": "a cat"},
                {"sen_id": 2, "video_id": "video0", "caption": "one dog"},
            ],
        },
    )
    write_json(
        tmp_path / "test_videodatainfo.json",
        {"videos": [{"video_id": "video7010", "split": "test"}], "sentences": []},
    )
    return tmp_path


def tacos_line(name="s13", start="1.5", end="4", labels=None, sentence="He cuts a carrot."):
    return "\t".join([name, start, end, *(labels or CUT).values(), sentence])


@pytest.fixture
def tacos_folder(tmp_path):
    (tmp_path / "tacos_multilevel.tsv").write_text(
        "s13\t1.5\t4\tcut\tcarrot\tknife\t\tnone\tHe cuts a carrot.\n"
        "s21\t0\t2.5\topen\tdrawer\tnone\tnone\tnone\tShe opens a drawer.\r\n"
        "s13\t1.50\t4.0\tcut\tcarrot\tknife\tnone\t\tA carrot is cut. \n"
        "s13\t4\t9\ttake out\tbread\tnone\tcupboard\tcounter\tHe takes out bread.\n"
    )
    (tmp_path / "train.txt").write_text("s13\n")
    (tmp_path / "val.txt").write_text("s21\n")
    (tmp_path / "test.txt").write_text("s21\ns13\n")
    return tmp_path


def test_msvd_splits_the_clips_by_their_numbers(msvd_folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        videos = msvd(msvd_folder, "train")
    clips = msvd_folder / "YouTubeClips"
    assert videos == [
        DescribedVideo("c_0_2", f"{clips}/c_0_2.avi", ["A dog runs."]),
        DescribedVideo("-a_b_1_5", f"{clips}/-a_b_1_5.avi", ["A man  cuts.", "A man is cutting"]),
    ]
    assert (videos[0].labels, videos[0].start, videos[0].end) == (None, None, None)


def test_msvd_leaves_out_clips_without_an_english_caption(msvd_folder):
    with pytest.warns(UserWarning, match="1 of the 2 clips .* have no English caption") as caught:
        assert video_ids(msvd(msvd_folder, "dev")) == ["d_3_4"]
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match=r'expected videos with captions .* "test", found none'):
        msvd(msvd_folder, "test")


def test_msvd_reads_the_english_rows_of_microsofts_csv(msvd_csv_folder):
    captions = [video.captions for video in msvd(msvd_csv_folder, "train")]
    assert captions == [['A dog, brown, "runs".'], ["A man cuts."]]
    os.rename(
        msvd_csv_folder / "video_corpus.csv",
        msvd_csv_folder / "MSR Video Description Corpus.csv",
    )
    assert [video.captions for video in msvd(msvd_csv_folder, "train")] == captions


def test_msvd_reads_a_list_of_the_split_where_there_are_no_numbers(msvd_folder):
    (msvd_folder / "val_list.txt").write_text("-a_b_1_5\nf_1_2\n")
    assert "f_1_2" not in video_ids(msvd(msvd_folder, "train"))
    os.remove(msvd_folder / "youtube_mapping.txt")
    assert video_ids(msvd(msvd_folder, "val")) == ["-a_b_1_5", "f_1_2"]
    with pytest.raises(FileNotFoundError, match=r"youtube_mapping\.txt, .*/train_list\.txt, the"):
        msvd(msvd_folder, "train")


def test_msvd_without_captions_names_the_files_that_have_them(msvd_folder):
    os.remove(msvd_folder / "AllVideoDescriptions.txt")
    with pytest.raises(FileNotFoundError, match=r"AllVideoDescriptions\.txt or video_corpus\.csv"):
        msvd(msvd_folder, "train")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("AllVideoDescriptions.txt", "a_1 A dog", r"line 9: expected `<id>_<start>_<end> sent"),
        ("youtube_mapping.txt", "a_1_2", r"line 8: expected `<id>_<start>_<end> vid<number>`"),
        ("youtube_mapping.txt", "a_1_2 vid1970", r"line 8: .* once, but '1970' is in .*line 6"),
        ("youtube_mapping.txt", "c_0_2 vid1302", r"line 8: .* once, but 'c_0_2' is in .*line 1"),
        ("youtube_mapping.txt", "../a_1_2 vid2", "line 8: expected the name of a video inside"),
    ],
)
def test_msvd_shows_a_malformed_line_with_its_place(msvd_folder, file, line, message):
    with open(msvd_folder / file, "a") as appended:
        appended.write(line)
    with pytest.raises(ValueError, match=message):
        msvd(msvd_folder, "train")


def test_list_of_msvd_cannot_lead_out_of_the_folder(msvd_folder):
    os.remove(msvd_folder / "youtube_mapping.txt")
    list_file = msvd_folder / "test_list.txt"
    list_file.write_text("/etc/a_1_2\n")
    with pytest.raises(ValueError, match="line 1: expected the name of a video inside"):
        msvd(msvd_folder, "test")
    list_file.write_text("a_1_2 vid3\n")
    with pytest.raises(ValueError, match="line 1: expected `<id>_<start>_<end>`"):
        msvd(msvd_folder, "test")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "expected the columns VideoID, Start, End, Language, Description"),
        (b"VideoID,Start,End,Text\n", "in the first line, got .*Text"),
        (CSV_HEADER.encode() + b"a,zero,2,7,clean,30,English,A dog\n", "line 2: expected an id"),
        (CSV_HEADER.encode() + b"a,0,2,7,clean,30,English,A caf\xe9\n", "in UTF-8"),
        (CSV_HEADER.encode() + b"a" * 140_000, "field larger"),
    ],
)
def test_files_that_are_not_microsofts_csv_are_refused(msvd_csv_folder, contents, message):
    (msvd_csv_folder / "video_corpus.csv").write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        msvd(msvd_csv_folder, "train")


def test_msrvtt_groups_sentences_by_video(msrvtt_folder):
    assert msrvtt(msrvtt_folder, "train") == [
        DescribedVideo(
            "video0", f"{msrvtt_folder}/TrainValVideo/video0.mp4", ["a dog runs", "one dog"]
        )
    ]
    assert msrvtt(msrvtt_folder, "dev") == msrvtt(msrvtt_folder, "val")
    assert [video.captions for video in msrvtt(msrvtt_folder, "val")] == [["a cat"]]
    assert msrvtt(msrvtt_folder, "test") == [
        DescribedVideo("video7010", f"{msrvtt_folder}/TestVideo/video7010.mp4", [])
    ]


@pytest.mark.parametrize("name", ["videodatainfo_2016.json", "MSRVTT_data.json"])
def test_msrvtt_reads_one_file_for_all_splits(tmp_path, name):
    marks = ["train", "validate", "test", "train"]
    videos = [{"video_id": f"video{i}", "split": mark} for i, mark in enumerate(marks)]
    write_json(tmp_path / name, {"videos": videos, "sentences": []})
    assert video_ids(msrvtt(tmp_path, "train")) == ["video0", "video3"]
    assert video_ids(msrvtt(tmp_path, "val")) == ["video1"]
    assert video_ids(msrvtt(tmp_path, "test")) == ["video2"]


def test_msrvtt_takes_the_first_folder_that_is_there(msrvtt_folder):
    for folder in ("videos", "videos/all", "TestVideo"):
        (msrvtt_folder / folder).mkdir()
        (video,) = msrvtt(msrvtt_folder, "test")
        assert video.path == f"{msrvtt_folder}/{folder}/video7010.mp4"
    (video,) = msrvtt(msrvtt_folder, "train")
    assert video.path == f"{msrvtt_folder}/videos/all/video0.mp4"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([], 'expected a list as "sentences"'),
        ({"sentences": []}, 'expected a list as "videos"'),
        ({"sentences": [{"video_id": "video0"}]}, r'sentences\[0\]: expected text as "caption"'),
        (
            {"sentences": [], "videos": [{"video_id": "video0"}]},
            r'videos\[0\]: expected text as "split"',
        ),
        (
            {"sentences": [], "videos": [{"video_id": "../video0", "split": "train"}]},
            r"videos\[0\]: expected the name of a video inside",
        ),
        ({"sentences": [], "videos": []}, 'expected videos for the split "train", found none'),
    ],
)
def test_files_that_are_not_msrvtts_are_refused(tmp_path, contents, message):
    write_json(tmp_path / "train_val_videodatainfo.json", contents)
    with pytest.raises(ValueError, match=message):
        msrvtt(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"test_videodatainfo\.json, or those of all"):
        msrvtt(tmp_path, "test")


def test_tacos_gathers_the_sentences_of_a_segment(tacos_folder):
    path = f"{tacos_folder}/videos/s13.avi"
    take = {**CUT, "activity": "take out", "object": "bread", "tool": "none"}
    take |= {"source": "cupboard", "target": "counter"}
    assert tacos(tacos_folder, "train") == [
        DescribedVideo("s13_1.5_4", path, ["He cuts a carrot.", "A carrot is cut."], CUT, 1.5, 4.0),
        DescribedVideo("s13_4_9", path, ["He takes out bread."], take, 4.0, 9.0),
    ]
    assert video_ids(tacos(tacos_folder, "test")) == ["s21_0_2.5", "s13_1.5_4", "s13_4_9"]
    assert video_ids(tacos(tacos_folder, "dev")) == ["s21_0_2.5"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (tacos_line(labels={**CUT, "tool": "none"}), "line 5: expected the tuple that 's13_1.5_4'"),
        (tacos_line() + "\tmore", "line 5: expected `video<TAB>start<TAB>end<TAB>activity"),
        (tacos_line(sentence=" "), "line 5: expected `video<TAB>"),
        (tacos_line(start="4"), "line 5: expected a start and a later end in seconds"),
        (tacos_line(start="-1"), "line 5: expected a start"),
        (tacos_line(start="soon"), "line 5: expected a start .* got 'soon' and '4'"),
        (tacos_line(end="nan"), "line 5: expected a start"),
        (tacos_line(end="inf"), "line 5: expected a start"),
        (tacos_line(name="../s13"), "line 5: expected the name of a video inside"),
    ],
)
def test_tacos_shows_a_malformed_line_with_its_place(tacos_folder, line, message):
    with open(tacos_folder / "tacos_multilevel.tsv", "a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=message):
        tacos(tacos_folder, "train")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("s13\ns14\n", r"train\.txt, line 2: expected a video with sentences .* none for 's14'"),
        ("s13\n\ns13\n", r"train\.txt, line 3: expected each video once, 's13' is in .*line 1"),
        ("\n", r'train\.txt: expected videos for the split "train", found none'),
    ],
)
def test_malformed_list_of_tacos_is_refused(tacos_folder, names, message):
    (tacos_folder / "train.txt").write_text(names)
    with pytest.raises(ValueError, match=message):
        tacos(tacos_folder, "train")


def test_missing_file_of_tacos_is_named(tacos_folder):
    os.remove(tacos_folder / "val.txt")
    with pytest.raises(FileNotFoundError, match=r'split "val" of TACoS Multilevel at .*val\.txt'):
        tacos(tacos_folder, "val")
    os.remove(tacos_folder / "tacos_multilevel.tsv")
    with pytest.raises(FileNotFoundError, match=r"sentences of TACoS .*tacos_multilevel\.tsv"):
        tacos(tacos_folder, "train")


def probabilities(**changed):
    arrays = {
        "video_ids": np.array(["a", "b"]),
        "activity": np.array([[0.9, 0.1], [0, 1]]),
        "tool": np.array([[0.2, 0.3, 0.5], [1, 0, 0]], np.float16),
    }
    return {name: array for name, array in {**arrays, **changed}.items() if array is not None}


def test_probabilities_of_the_roles_stand_one_beside_another(tmp_path):
    np.savez(tmp_path / "crf.npz", **probabilities())
    rows = label_probabilities(tmp_path / "crf.npz", ["b", "a", "b"], ROLES)
    assert rows.dtype == np.float32
    b, a = [0, 1, 1, 0, 0], [0.9, 0.1, 0.2, 0.3, 0.5]
    np.testing.assert_allclose(rows, [b, a, b], atol=1e-3)
    backwards = label_probabilities(tmp_path / "crf.npz", ["b"], dict(reversed(ROLES.items())))
    np.testing.assert_allclose(backwards, [[1, 0, 0, 0, 1]])
    assert label_probabilities(tmp_path / "crf.npz", [], ROLES).shape == (0, 5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tool": None}, "roles activity, tool, but tool is missing"),
        ({"video_ids": None}, "but video_ids is missing"),
        ({"video_ids": np.array(["a", "c"])}, "2 videos, but 1 are missing, the first is 'b'"),
        ({"video_ids": np.array(["a", "a"])}, "each video once"),
        ({"video_ids": np.array([1, 2])}, 'list of strings as "video_ids", got int64'),
        ({"video_ids": np.array(["a", None])}, "expected an .npz with arrays of strings"),
        ({"tool": np.ones((2, 1))}, r'floats of shape \(2, 3\) as "tool", .* \(2, 1\)'),
        ({"activity": np.eye(2, dtype=int)}, r"floats of shape \(2, 2\) .* got int64"),
        ({"activity": np.array([[0, 1], [0.5, 0.4]])}, r"\[0.5 0.4\] for the video 'b'"),
        ({"activity": np.array([[1.5, -0.5], [0, 1]])}, "sum to 1 .* for the video 'a'"),
        ({"activity": np.array([[0, 1], [np.nan, 1]])}, "sum to 1 .* for the video 'b'"),
        ({"activity": np.array([[0, 1], [np.inf, 1]])}, "sum to 1 .* for the video 'b'"),
    ],
)
def test_probabilities_that_are_none_are_refused(tmp_path, changed, message):
    np.savez(tmp_path / "crf.npz", **probabilities(**changed))
    with pytest.raises(ValueError, match=message):
        label_probabilities(tmp_path / "crf.npz", ["a", "b"], ROLES)


@pytest.mark.parametrize("contents", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_files_that_are_no_archive_are_refused(tmp_path, contents):
    path = tmp_path / "crf.npz"
    with pytest.raises(FileNotFoundError, match="probabilities of labels"):
        label_probabilities(path, ["a"], ROLES)
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"crf\.npz: expected an \.npz"):
        label_probabilities(path, ["a"], ROLES)
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"crf\.npz: expected an \.npz"):
        label_probabilities(path, ["a"], ROLES)


def test_own_videos_lie_beside_the_json_and_may_have_labels(tmp_path):
    entries = [
        {"video": "a.mp4", "captions": ["He cuts. "], "labels": {"activity": "cut", "tool": " "}},
        {"video": "/elsewhere/b.mp4", "captions": [], "split": "train", "video_id": 7},
        {"video": "c.mp4", "captions": ["She peels."], "split": "dev"},
    ]
    path = write_json(tmp_path / "own.json", entries)
    assert own_videos(path, "train") == [
        DescribedVideo(
            "a.mp4", f"{tmp_path}/a.mp4", ["He cuts."], {"activity": "cut", "tool": "none"}
        ),
        DescribedVideo("7", "/elsewhere/b.mp4", []),
    ]
    assert video_ids(own_videos(path, "val")) == ["c.mp4"]
    with pytest.raises(ValueError, match='expected videos .* Mark some entries with "split": "te'):
        own_videos(path, "test")
    with pytest.raises(FileNotFoundError, match="a JSON file with your videos and captions"):
        own_videos(tmp_path, "train")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({}, r'expected a list, \[\{"video": ..., "captions"'),
        ([{"captions": []}], 'entry 0: expected text as "video"'),
        ([{"video": "a.mp4", "captions": "He cuts."}], 'entry 0: expected a list as "captions"'),
        ([{"video": "a.mp4", "captions": [], "labels": ["cut"]}], "entry 0: expected texts by"),
        ([{"video": "a.mp4", "captions": [], "labels": {"tool": 3}}], "entry 0: expected texts by"),
        ([{"video": "a.mp4", "captions": [], "labels": None}], "entry 0: expected texts by"),
        ([{"video": "a.mp4", "captions": [], "video_id": 1.5}], "text or an integer"),
    ],
)
def test_files_that_are_not_own_videos_are_refused(tmp_path, contents, message):
    path = write_json(tmp_path / "own.json", contents)
    with pytest.raises(ValueError, match=message):
        own_videos(path, "train")


def labelled(*labels):
    return [DescribedVideo(str(i), "", [], given) for i, given in enumerate(labels)]


def test_roles_begin_with_the_activity_and_labels_with_none():
    videos = labelled({"tool": "peeler", "object": "none"}, {}, {"activity": "peel", "tool": "a"})
    assert list(roles_of(videos).items()) == [
        ("activity", ["none", "peel"]),
        ("tool", ["none", "a", "peeler"]),
        ("object", ["none"]),
    ]
    assert list(roles_of(labelled({"b": "x", "a": "y"}))) == ["b", "a"]
    assert roles_of(labelled(None, None)) == roles_of([]) == {}


def test_labels_of_some_videos_only_are_refused():
    with pytest.raises(ValueError, match="1 of 2 have none, the first is '1'"):
        roles_of(labelled({"tool": "knife"}, None))
    with pytest.raises(ValueError, match="roles activity, tool, but the video '0' has none"):
        label_ids(labelled(None), ROLES)


def test_labels_that_training_did_not_have_are_counted():
    labels = [
        {"activity": "cut", "tool": "peeler"},
        {"activity": "none", "tool": "saw"},
        {"tool": "knife", "source": "none"},
        {"activity": "boil", "source": "pot"},
    ]
    ids, num_unknown = label_ids(labelled(*labels), ROLES)
    assert ids.dtype == np.int32
    assert ids.tolist() == [[1, 2], [0, 0], [0, 1], [0, 0]]
    assert num_unknown == 3  # saw, boil and the pot
    assert label_ids([], ROLES)[0].shape == (0, 2)
    assert label_ids(labelled(None), {})[0].shape == (1, 0)


def test_read_described_knows_these_data_sets(msvd_folder, msrvtt_folder, tacos_folder):
    for name, reader in {"msvd": msvd, "msrvtt": msrvtt, "tacos": tacos}.items():
        assert read_described(name, tacos_folder, "train") == reader(tacos_folder, "train")
    path = write_json(tacos_folder / "own.json", [{"video": "a.mp4", "captions": []}])
    assert read_described("own", path, "train") == own_videos(path, "train")
    with pytest.raises(ValueError, match="msrvtt, msvd, own, tacos; got 'MSVD'"):
        read_described("MSVD", msvd_folder, "train")


@pytest.mark.parametrize("reader", [msrvtt, msvd, own_videos, tacos])
def test_every_reader_knows_the_words_for_a_split(reader, tmp_path):
    with pytest.raises(ValueError, match='A split is "train", "val"'):
        reader(tmp_path, "validate")
