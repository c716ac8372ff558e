import json
import os

import pytest

from zoo.data.datasets import CaptionedImage, coco, flickr8k, flickr30k, karpathy, own, read


def write_json(path, contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents), encoding="utf-8")
    return path


@pytest.fixture
def flickr8k_folder(tmp_path):
    (tmp_path / "Images").mkdir()
    (tmp_path / "Flickr8k.token.txt").write_text(
        "1.jpg#0\tA dog runs .\n1.jpg#1\tA brown dog .\n2.jpg#0\tTwo men\u2019s hats\n"
        "3.jpg.1#0\tA picture that is not there .\n3.jpg#0\t.\n",
        encoding="utf-8",
    )
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("2.jpg\n1.jpg\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_bytes(b"3.jpg\r\n\r\n")
    return tmp_path


@pytest.fixture
def flickr30k_folder(tmp_path):
    (tmp_path / "results_20130124.token").write_text("1.jpg#0\tA dog .\n2.jpg#0\tA cat .\n")
    (tmp_path / "train.txt").write_text("1.jpg\n")
    (tmp_path / "val.txt").write_text("2\n")  # as in the lists of Flickr30k Entities
    return tmp_path


@pytest.fixture
def coco_folder(tmp_path):
    write_json(
        tmp_path / "annotations" / "captions_train2014.json",
        {
            "images": [{"id": 9, "file_name": "b.jpg"}, {"id": 4, "file_name": "a.jpg"}],
            "annotations": [
                {"id": 1, "image_id": 4, "caption": "A dog.\n"},
                {"id": 2, "image_id": 7, "caption": "A picture that is not listed."},
                {"id": 3, "image_id": 4, "caption": "A brown dog."},
            ],
        },
    )
    return tmp_path


def karpathy_image(filename, split, *captions, **more):
    sentences = [{"raw": caption, "tokens": caption.split()} for caption in captions]
    return {"filename": filename, "split": split, "sentences": sentences, **more}


@pytest.fixture
def karpathy_coco_folder(tmp_path):
    images = [
        karpathy_image("1.jpg", "train", "a dog", filepath="train2014", cocoid=1),
        karpathy_image("2.jpg", "restval", "a cat", "one cat", filepath="val2014", cocoid=2),
        karpathy_image("3.jpg", "val", "a cow", filepath="val2014", cocoid=3),
        karpathy_image("4.jpg", "test", "a hen", filepath="val2014", cocoid=4),
    ]
    write_json(tmp_path / "dataset_coco.json", {"dataset": "coco", "images": images})
    return tmp_path


def test_flickr8k_gives_the_pictures_of_the_list_with_their_captions(flickr8k_folder):
    images = str(flickr8k_folder / "Images")
    assert flickr8k(flickr8k_folder, "train") == [
        CaptionedImage("2.jpg", f"{images}/2.jpg", ["Two men\u2019s hats"]),
        CaptionedImage("1.jpg", f"{images}/1.jpg", ["A dog runs .", "A brown dog ."]),
    ]


def test_dev_and_val_are_the_same_split(flickr8k_folder, flickr30k_folder, coco_folder):
    assert flickr8k(flickr8k_folder, "dev") == flickr8k(flickr8k_folder, "val")
    assert flickr8k(flickr8k_folder, "dev")[0].captions == ["."]  # for the audit to find
    assert flickr30k(flickr30k_folder, "dev") == flickr30k(flickr30k_folder, "val")


def test_flickr8k_finds_the_pictures_in_the_archives_own_folder(flickr8k_folder):
    os.rename(flickr8k_folder / "Images", flickr8k_folder / "Flicker8k_Dataset")
    (example, *_) = flickr8k(flickr8k_folder, "train")
    assert example.path == str(flickr8k_folder / "Flicker8k_Dataset" / "2.jpg")


def test_missing_list_or_captions_are_named(flickr8k_folder):
    with pytest.raises(FileNotFoundError, match=r'split "test" of Flickr8k at .*testImages\.txt'):
        flickr8k(flickr8k_folder, "test")
    os.remove(flickr8k_folder / "Flickr8k.token.txt")
    with pytest.raises(FileNotFoundError, match=r"captions of Flickr8k at .*Flickr8k\.token\.txt"):
        flickr8k(flickr8k_folder, "train")


@pytest.mark.parametrize("line", ["2.jpg#0 no tab", "2.jpg\tno number", "\tA dog .", "2.jpg"])
def test_malformed_line_is_shown_with_its_place(flickr8k_folder, line):
    with open(flickr8k_folder / "Flickr8k.token.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"token\.txt, line 6: expected `name\.jpg#number<TAB>"):
        flickr8k(flickr8k_folder, "train")


def test_line_that_is_not_utf8_is_shown_with_its_place(flickr8k_folder):
    with open(flickr8k_folder / "Flickr8k.token.txt", "ab") as file:
        file.write(b"2.jpg#1\tA caf\xe9 .\n")
    with pytest.raises(ValueError, match="line 6: expected UTF-8 text"):
        flickr8k(flickr8k_folder, "train")


def test_listed_picture_without_captions_is_refused(flickr8k_folder):
    with open(flickr8k_folder / "Flickr_8k.trainImages.txt", "a") as file:
        file.write("7.jpg\n")
    with pytest.raises(ValueError, match=r"trainImages\.txt, line 3: .* none for '7\.jpg'"):
        flickr8k(flickr8k_folder, "train")


def test_empty_list_is_refused(flickr8k_folder):
    (flickr8k_folder / "Flickr_8k.trainImages.txt").write_text("\n")
    with pytest.raises(ValueError, match=r'trainImages\.txt: expected pictures .*"train"'):
        flickr8k(flickr8k_folder, "train")


@pytest.mark.parametrize(
    "name", ["../1.jpg", "/etc/1.jpg", "a/../../1.jpg", "..\\1.jpg", "C:1.jpg"]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, flickr8k_folder, name):
    (flickr8k_folder / "Flickr_8k.trainImages.txt").write_text(f"{name}\n")
    with pytest.raises(ValueError, match=r"line 1: expected the name of a picture inside"):
        flickr8k(flickr8k_folder, "train")

    contents = {"images": [{"id": 1, "file_name": name}], "annotations": []}
    write_json(tmp_path / "annotations" / "captions_val2017.json", contents)
    with pytest.raises(ValueError, match=r"images\[0\]: expected the name of a picture inside"):
        coco(tmp_path, "val", 2017)

    path = write_json(tmp_path / "d.json", {"images": [karpathy_image(name, "val", "a dog")]})
    with pytest.raises(ValueError, match=r"images\[0\]: expected the name of a picture inside"):
        karpathy(path, tmp_path, "val")


def test_filepath_of_karpathy_cannot_lead_out_of_the_folder(tmp_path):
    image = karpathy_image("1.jpg", "val", "a dog", filepath="..")
    path = write_json(tmp_path / "dataset_coco.json", {"images": [image]})
    with pytest.raises(ValueError, match="inside"):
        karpathy(path, tmp_path, "val")


def test_flickr30k_reads_lists_with_and_without_extension(flickr30k_folder):
    folder = str(flickr30k_folder / "flickr30k-images")
    assert flickr30k(flickr30k_folder, "train") == [
        CaptionedImage("1.jpg", f"{folder}/1.jpg", ["A dog ."])
    ]
    assert flickr30k(flickr30k_folder, "val") == [
        CaptionedImage("2.jpg", f"{folder}/2.jpg", ["A cat ."])
    ]


def test_flickr30k_reads_the_csv_with_its_broken_line(flickr30k_folder):
    os.remove(flickr30k_folder / "results_20130124.token")
    (flickr30k_folder / "results.csv").write_text(
        "image_name| comment_number| comment\n"
        "1.jpg| 0| A dog | and a cat .\n1.jpg| 4   A dog runs .\n1.jpg| 2| \n"
    )
    (example,) = flickr30k(flickr30k_folder, "train")
    assert example.captions == ["A dog | and a cat .", "A dog runs .", ""]
    with open(flickr30k_folder / "results.csv", "a") as file:
        file.write("1.jpg, 5, A dog\n")
    with pytest.raises(ValueError, match=r"results\.csv, line 5: expected `name\.jpg\| number\|"):
        flickr30k(flickr30k_folder, "train")


def test_flickr30k_without_lists_points_to_karpathy(flickr30k_folder):
    with pytest.raises(FileNotFoundError, match=r"test\.txt, .*dataset_flickr30k\.json"):
        flickr30k(flickr30k_folder, "test")


def test_coco_groups_captions_by_picture(coco_folder):
    assert coco(coco_folder, "train", 2014) == [
        CaptionedImage(9, str(coco_folder / "train2014" / "b.jpg"), []),
        CaptionedImage(4, str(coco_folder / "train2014" / "a.jpg"), ["A dog.", "A brown dog."]),
    ]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("{", "line 1, column 2: expected JSON"),
        ("[]", 'json: expected a list as "annotations"'),
        ('{"images": {}, "annotations": []}', 'json: expected a list as "images"'),
        ('{"images": [3], "annotations": []}', r'images\[0\]: expected an integer as "id", got 3'),
        (
            '{"images": [], "annotations": [{"image_id": 3, "caption": null}]}',
            r'annotations\[0\]: expected text as "caption"',
        ),
        ('{"images": [], "annotations": []}', 'expected pictures for the split "train"'),
    ],
)
def test_files_that_are_not_cocos_are_refused(coco_folder, contents, message):
    (coco_folder / "annotations" / "captions_train2014.json").write_text(contents)
    with pytest.raises(ValueError, match=message):
        coco(coco_folder, "train", 2014)


def test_coco_has_no_test_captions(coco_folder):
    with pytest.raises(ValueError, match="none for"):
        coco(coco_folder, "test", 2014)
    with pytest.raises(ValueError, match="2014 or 2017"):
        coco(coco_folder, "train", 2015)
    with pytest.raises(FileNotFoundError, match=r"captions_val2017\.json"):
        coco(coco_folder, "val", 2017)


def test_karpathys_restval_is_trained_on(karpathy_coco_folder):
    assert read("karpathy", karpathy_coco_folder, "train") == [
        CaptionedImage(1, str(karpathy_coco_folder / "train2014" / "1.jpg"), ["a dog"]),
        CaptionedImage(2, str(karpathy_coco_folder / "val2014" / "2.jpg"), ["a cat", "one cat"]),
    ]
    assert [example.image_id for example in read("karpathy", karpathy_coco_folder, "dev")] == [3]
    assert [example.image_id for example in read("karpathy", karpathy_coco_folder, "test")] == [4]


def test_karpathys_flickr_finds_the_pictures_in_the_data_sets_folder(tmp_path):
    images = [karpathy_image("1.jpg", "train", "a dog")]
    path = write_json(tmp_path / "dataset_flickr30k.json", {"images": images})
    assert read("karpathy", tmp_path, "train")[0].path == str(tmp_path / "1.jpg")
    (tmp_path / "flickr30k-images").mkdir()
    expected = [CaptionedImage("1.jpg", str(tmp_path / "flickr30k-images" / "1.jpg"), ["a dog"])]
    assert read("karpathy", tmp_path, "train") == expected
    assert read("karpathy", path, "train") == expected


def test_folder_with_none_or_several_of_karpathys_files_is_refused(karpathy_coco_folder):
    write_json(karpathy_coco_folder / "dataset_flickr8k.json", {})
    with pytest.raises(ValueError, match=r"found dataset_coco\.json, dataset_flickr8k\.json"):
        read("karpathy", karpathy_coco_folder, "train")
    assert read("karpathy", karpathy_coco_folder / "dataset_coco.json", "train")
    with pytest.raises(ValueError, match="found none"):
        read("karpathy", karpathy_coco_folder / "nowhere", "train")


def test_own_pictures_lie_beside_the_json_or_where_it_says(tmp_path):
    entries = [
        {"file_path": "a/1.jpg", "captions": ["a dog ", "one dog"]},
        {"file_path": "/elsewhere/2.jpg", "captions": [], "split": "train", "image_id": 7},
        {"file_path": "../3.jpg", "captions": ["a cat"], "split": "dev", "image_id": "cat"},
        {"file_path": "4.jpg", "captions": ["a cow"], "split": "val"},
    ]
    path = write_json(tmp_path / "own.json", entries)
    assert own(path, "train") == [
        CaptionedImage("a/1.jpg", str(tmp_path / "a" / "1.jpg"), ["a dog", "one dog"]),
        CaptionedImage(7, "/elsewhere/2.jpg", []),
    ]
    assert own(path, "val") == own(path, "dev") == read("own", path, "val")
    assert [example.image_id for example in own(path, "val")] == ["cat", "4.jpg"]
    assert own(path, "val")[0].path == f"{tmp_path}/../3.jpg"
    with pytest.raises(ValueError, match='Mark some entries with "split": "test"'):
        own(path, "test")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"images": []}, "expected a list"),
        ([{"captions": ["a dog"]}], 'entry 0: expected text as "file_path"'),
        ([{"file_path": "1.jpg", "captions": "a dog"}], 'entry 0: expected a list as "captions"'),
        ([{"file_path": "1.jpg", "captions": [3]}], "entry 0: expected a list of texts"),
        ([{"file_path": "1.jpg", "captions": [], "split": "all"}], "entry 0: A split is"),
        ([{"file_path": "1.jpg", "captions": [], "image_id": 1.5}], "text or an integer"),
        ([{"file_path": "1.jpg", "captions": [], "image_id": True}], "text or an integer"),
        ([], "found none"),
    ],
)
def test_files_that_are_not_own_data_are_refused(tmp_path, contents, message):
    path = write_json(tmp_path / "own.json", contents)
    with pytest.raises(ValueError, match=message):
        own(path, "train")


def test_own_data_is_named_by_its_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="a JSON file with your pictures"):
        read("own", tmp_path, "train")


def test_read_knows_these_data_sets(flickr8k_folder, coco_folder):
    assert read("flickr8k", flickr8k_folder, "train") == flickr8k(flickr8k_folder, "train")
    assert read("coco2014", coco_folder, "train") == coco(coco_folder, "train", 2014)
    with pytest.raises(ValueError, match=r"coco2017, karpathy, own; got 'coco'"):
        read("coco", coco_folder, "train")
    with pytest.raises(ValueError, match="'validation'"):
        read("flickr8k", flickr8k_folder, "validation")


def test_real_flickr8k_has_five_captions_a_picture(real_data):
    for split, count in {"train": 6000, "dev": 1000}.items():
        examples = read("flickr8k", real_data / "flickr8k", split)
        assert len(examples) == count
        assert {len(example.captions) for example in examples} == {5}
        assert all(os.path.isfile(example.path) for example in examples)
    with pytest.raises(FileNotFoundError, match=r"Flickr_8k\.testImages\.txt"):
        read("flickr8k", real_data / "flickr8k", "test")


def test_real_coco_has_five_captions_a_picture(real_data):
    examples = read("coco2017", real_data / "coco_mini", "val")
    assert len(examples) == 60
    assert all(len(example.captions) >= 5 for example in examples)
    assert all(os.path.isfile(example.path) for example in examples)
