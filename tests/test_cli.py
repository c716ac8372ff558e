"""The command line, called as a terminal calls it, with a tiny model."""

import json
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

from zoo import cli, lrcn_captioner
from zoo.models.backbones import image_encoder
from zoo.presets import presets, save_to_preset
from zoo.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, strides=4)])
    captioner = lrcn_captioner(image_encoder(network, (1 / 255, 0.0)), 6, lstm_units=8)
    captioner.vocabulary = Vocabulary(["<eos>", "<unk>", "a", "red", "blue", "square"])
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    save_to_preset(captioner, folder)
    return str(folder)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for name, colour in {"a.png": "red", "deeper/b.JPG": "blue"}.items():
        Image.new("RGB", (40, 30), colour).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def run(capsys, *arguments):
    """Runs `lrcn`; gives exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    code = stopped.value.code
    if isinstance(code, str):  # sys.exit prints a message itself, as the interpreter ends
        return 1, out, err + code
    return code, out, err


def test_caption_prints_every_picture_of_a_folder(preset, pictures, capsys):
    code, out, _ = run(capsys, "caption", "--model", preset, pictures)
    assert code == 0
    files = [line for line in out.splitlines() if not line.startswith(" ")]
    assert files == [str(pictures / "a.png"), str(pictures / "deeper/b.JPG")]


def test_json_has_n_best_captions_whose_words_sum_to_their_log_prob(preset, pictures, capsys):
    code, out, _ = run(capsys, "caption", "--model", preset, "--n-best", 3, "--json", pictures)
    assert code == 0
    for result in json.loads(out):
        log_probs = [caption["log_prob"] for caption in result["captions"]]
        assert len(log_probs) == 3 and log_probs == sorted(log_probs, reverse=True)
        for caption in result["captions"]:
            assert "<unk>" not in caption["caption"]
            assert sum(caption["word_log_probs"]) == pytest.approx(caption["log_prob"], abs=1e-4)


def test_a_picture_alone_gets_the_caption_that_it_gets_among_others(preset, pictures, capsys):
    together = json.loads(run(capsys, "caption", "--model", preset, "--json", pictures)[1])
    alone = json.loads(run(capsys, "caption", "--model", preset, "--json", pictures / "a.png")[1])
    assert alone[0]["captions"][0]["caption"] == together[0]["captions"][0]["caption"]


def test_unreadable_pictures_are_named_and_the_others_captioned(preset, pictures, capsys):
    (pictures / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:40])
    arguments = ["caption", "--model", preset, pictures, pictures / "gone.jpg"]
    code, out, err = run(capsys, *arguments)
    assert code == 0 and "a.png" in out
    assert "broken.png: " in err and "gone.jpg: missing" in err


def test_the_exit_code_is_1_where_nothing_could_be_captioned(preset, tmp_path, capsys):
    assert run(capsys, "caption", "--model", preset, tmp_path / "gone.jpg")[0] == 1


def test_an_empty_folder_is_an_error_in_one_line(preset, tmp_path, capsys):
    code, _, err = run(capsys, "caption", "--model", preset, tmp_path)
    assert code == 1 and err.startswith("lrcn: ") and "holds no picture" in err


def test_an_unknown_preset_is_an_error_that_lists_the_known_ones(pictures, capsys):
    code, _, err = run(capsys, "caption", "--model", "nonsense", pictures)
    assert code == 1 and "nonsense" in err
    assert all(name in err for name in presets())


def test_html_page_shows_pictures_and_captions(preset, pictures, tmp_path, capsys):
    page = tmp_path / "out" / "page.html"
    _, out, err = run(capsys, "caption", "--model", preset, pictures, "--html", page)
    assert str(page) in err
    captions = [line[9:].strip() for line in out.splitlines() if line.startswith(" ")]
    text = page.read_text()
    assert text.count("data:image/jpeg") == 2 and all(caption in text for caption in captions)


def test_presets_lists_names_and_scores(capsys):
    code, out, _ = run(capsys, "presets", "--json")
    listed = json.loads(out)
    assert code == 0 and listed == presets()
    assert all(name in run(capsys, "presets")[1] for name in listed)


def test_audit_lists_problems_and_writes_a_sheet(pictures, tmp_path, capsys):
    entries = [
        {"file_path": "pictures/a.png", "captions": ["a red square"]},
        {"file_path": "pictures/gone.png", "captions": ["a blue square"]},
    ]
    data = tmp_path / "data.json"
    data.write_text(json.dumps(entries))
    sheet = tmp_path / "sheet.html"
    arguments = ["audit", "--dataset", "own", "--data", data, "--sheet", sheet]
    code, out, _ = run(capsys, *arguments)
    assert code == 1 and "gone.png: missing" in out and "2 pictures, 2 captions, 1 problems" in out
    assert "a red square" in sheet.read_text()
    assert len(json.loads(run(capsys, *arguments, "--json")[1])) == 1


def test_demo_captions_photographs_of_other_packages(preset, tmp_path, capsys):
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    page = tmp_path / "demo" / "index.html"
    code, out, _ = run(capsys, "demo", "--model", preset, "--html", page)
    assert code == 0 and page.exists()
    assert all(file in out for _, file in cli.DEMO_PICTURES)


def test_help_does_not_wait_for_tensorflow():
    lrcn = pathlib.Path(sys.executable).with_name("lrcn")
    if not lrcn.exists():
        pytest.skip("the package is not installed: there is no command `lrcn`")
    start = time.monotonic()
    shown = subprocess.run([lrcn, "--help"], capture_output=True, text=True, check=True)
    assert "caption" in shown.stdout and not shown.stderr
    assert time.monotonic() - start < 2  # TensorFlow alone takes longer


def test_find_pictures_keeps_named_files_in_their_order(pictures):
    named = [str(pictures / "notes.txt"), str(pictures / "a.png")]
    assert cli.find_pictures(named) == named
    assert np.all([name.startswith(str(pictures)) for name in cli.find_pictures([pictures])])
