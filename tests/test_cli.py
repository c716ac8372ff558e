"""The command line, called as a terminal calls it, with a tiny model."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from serving_models import (
    LOOPBACK,
    confident_captioner,
    confident_export,
    make_certificate,
    running,
    tiny_captioner,
)

import zoo.serving
from zoo import cli
from zoo.cli import demo
from zoo.cli.caption import find_pictures
from zoo.data.images.sample_pictures import PICTURES
from zoo.presets import presets
from zoo.serving.local_server.process import serving


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    tiny_captioner().save_to_preset(folder)
    return str(folder)


@pytest.fixture(scope="module")
def confident_preset(tmp_path_factory):
    """A preset with a confidence; the caption of one picture is unsure."""
    folder = tmp_path_factory.mktemp("confident") / "tiny"
    confident_captioner().save_to_preset(folder)
    return str(folder)


@pytest.fixture(scope="module")
def saved_models(preset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved_models")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export", preset, str(folder)])
    assert stopped.value.code == 0
    warm_up = folder / "lrcn_captioner" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    warm_up.unlink()  # so that the servers here start in a moment
    return folder


@pytest.fixture(scope="module")
def server(saved_models):
    with running(saved_models) as server:
        yield f"{LOOPBACK}:{server.port}"


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


@pytest.mark.parametrize("command", [["caption"], ["search", "a dog", "--images"]])
def test_a_model_of_another_task_is_named(command, pictures, capsys):
    fights = "lrcn_activity_efficientnet_lite0_fights"
    code, _, err = run(capsys, *command, pictures, "--model", fights)
    assert code == 1 and f"{fights} is a preset for activity_recognition, and one for" in err


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


def without_intro(page):
    """Returns a page without the line that names what wrote the captions."""
    return re.sub(r'<p class="intro".*?</p>', "", page.read_text())


def test_html_page_shows_pictures_and_captions(preset, pictures, tmp_path, capsys):
    page = tmp_path / "out" / "page.html"
    _, out, err = run(capsys, "caption", "--model", preset, pictures, "--html", page)
    assert str(page) in err
    captions = [line[9:].strip() for line in out.splitlines() if line.startswith(" ")]
    text = page.read_text()
    assert text.count("data:image/jpeg") == 2 and all(caption in text for caption in captions)


def test_unsure_captions_are_marked_with_their_confidence(confident_preset, pictures, capsys):
    asked = ["caption", "--model", confident_preset, "--n-best", 3, pictures]
    _, out, _ = run(capsys, *asked)
    results = json.loads(run(capsys, *asked, "--json")[1])
    threshold = confident_captioner().confidence.threshold
    captions = [caption for result in results for caption in result["captions"]]
    for caption in captions:
        assert 0 < caption["confidence"] < 1
        assert caption["unsure"] == (caption["confidence"] < threshold)
    assert {caption["unsure"] for caption in captions} == {True, False}
    lines = [line for line in out.splitlines() if line.startswith(" ")]
    for line, caption in zip(lines, captions, strict=True):
        mark = " (unsure)" if caption["unsure"] else ""
        percent = f"{caption['confidence'] * 100:.0f} %"
        assert line.split(None, 1)[1] == f"{percent}  {caption['caption']}{mark}"


def test_one_caption_has_the_confidence_that_it_has_among_three(confident_preset, pictures, capsys):
    asked = ["caption", "--model", confident_preset, "--json", pictures]
    one = json.loads(run(capsys, *asked)[1])
    three = json.loads(run(capsys, *asked, "--n-best", 3)[1])
    for ours, theirs in zip(one, three, strict=True):
        (best,) = ours["captions"]
        assert best["caption"] == theirs["captions"][0]["caption"]
        assert best["confidence"] == pytest.approx(theirs["captions"][0]["confidence"], abs=1e-5)


def test_a_model_without_confidence_prints_and_writes_as_before(preset, pictures, tmp_path, capsys):
    page = tmp_path / "page.html"
    _, out, _ = run(capsys, "caption", "--model", preset, pictures, "--html", page)
    assert "unsure" not in out and "%" not in out
    assert "(unsure)" not in page.read_text() and "confidence" not in page.read_text()
    for result in json.loads(run(capsys, "caption", "--model", preset, pictures, "--json")[1]):
        assert result["captions"][0].keys() == {"caption", "log_prob", "word_log_probs"}


def test_a_server_marks_unsure_captions_as_the_model_does(
    confident_preset, pictures, tmp_path, capsys
):
    asked = ["caption", "--n-best", 3, pictures]
    pages = [tmp_path / "local.html", tmp_path / "served.html"]
    with running(confident_export()) as server:
        address = f"{LOOPBACK}:{server.port}"
        served = run(capsys, *asked, "--server", address, "--html", pages[1])
        results = json.loads(run(capsys, *asked, "--server", address, "--json")[1])
    local = run(capsys, *asked, "--model", confident_preset, "--html", pages[0])
    assert served[1] == local[1] and "(unsure)" in local[1]
    text = pages[0].read_text()
    assert without_intro(pages[1]) == without_intro(pages[0])
    assert 'class="first unsure"' in text or 'class="more unsure"' in text
    assert "log-probability" in text and ", confidence " in text
    keys = {"caption", "log_prob", "confidence", "unsure"}
    assert all(caption.keys() == keys for result in results for caption in result["captions"])


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
    arguments = ["audit", "--data", f"own={data}", "--sheet", sheet]
    code, out, _ = run(capsys, *arguments)
    assert code == 1 and "gone.png: missing" in out and "2 pictures, 2 captions, 1 problems" in out
    assert "a red square" in sheet.read_text()
    assert len(json.loads(run(capsys, *arguments, "--json")[1])) == 1


def test_a_server_gives_the_captions_of_the_model_that_was_exported(
    preset, server, pictures, capsys
):
    asked = ["caption", "--n-best", 3, "--json", pictures, pictures / "gone.jpg"]
    code, out, _ = run(capsys, *asked, "--server", server)
    local = json.loads(run(capsys, *asked, "--model", preset)[1])
    served = json.loads(out)
    assert code == 0 and [r["file"] for r in served] == [r["file"] for r in local]
    for ours, theirs in zip(served[:2], local[:2], strict=True):
        for one, other in zip(ours["captions"], theirs["captions"], strict=True):
            assert one.keys() == {"caption", "log_prob"}  # by word it does not come over the wire
            assert one["caption"] == other["caption"]
            assert one["log_prob"] == pytest.approx(other["log_prob"], abs=1e-4)
    assert served[2].keys() == {"file", "error"}


def test_a_servers_captions_are_shown_as_those_of_a_model(
    preset, server, pictures, tmp_path, capsys
):
    pages = [tmp_path / "local.html", tmp_path / "served.html"]
    local = run(capsys, "caption", pictures, "--html", pages[0], "--model", preset)
    served = run(capsys, "caption", pictures, "--html", pages[1], "--server", server)
    assert served[1] == local[1] and without_intro(pages[1]) == without_intro(pages[0])
    assert "Captions by the server" in pages[1].read_text()


def test_a_server_is_asked_about_any_number_of_pictures(server, pictures, capsys):
    many = [pictures / "a.png", *[pictures / "gone.jpg"] * 40, pictures / "deeper" / "b.JPG"]
    code, out, err = run(capsys, "caption", "--server", server, *many)
    assert code == 0 and out.count(".png\n") == out.count(".JPG\n") == 1
    assert err.count("gone.jpg: cannot be read: No such file") == 40


def test_a_server_names_pictures_that_it_cannot_read(server, pictures, capsys):
    (pictures / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:40])
    code, out, err = run(capsys, "caption", "--server", server, pictures, pictures / "notes.txt")
    assert code == 0 and "a.png" in out and "broken.png" not in out
    assert "broken.png: damaged" in err and "notes.txt: not an image" in err
    assert run(capsys, "caption", "--server", server, pictures / "notes.txt")[0] == 1


def test_a_server_gives_no_more_captions_than_were_exported(server, pictures, capsys):
    code, _, err = run(capsys, "caption", "--server", server, "--n-best", 4, pictures)
    assert code == 1 and err.startswith("lrcn: ") and "gives 3 captions" in err


def test_a_server_that_is_not_there_is_an_error_in_one_line(pictures, capsys):
    with socket.create_server((LOOPBACK, 0)) as free:
        address = f"{LOOPBACK}:{free.getsockname()[1]}"
    code, out, err = run(capsys, "caption", "--server", address, pictures)
    assert code == 1 and not out and len(err.splitlines()) == 1
    assert err.startswith(f"lrcn: The server {address} answers UNAVAILABLE")


@pytest.mark.parametrize(
    "options", [["--server", "a:1", "--model", "b"], ["--server", "a:1", "--beam", "2"]]
)
def test_a_server_has_its_own_model(options, capsys):
    code, _, err = run(capsys, "caption", *options, "photo.jpg")
    assert code == 2 and f"{options[2]} does not go with --server" in err


def test_a_certificate_to_trust_goes_with_a_server(capsys):
    code, _, err = run(capsys, "caption", "--tls-root", "file", "photo.jpg")
    assert code == 2 and "--tls-root goes with --server" in err


def test_a_server_with_tls_is_asked_with_the_certificate_to_trust(
    saved_models, pictures, tmp_path, capsys
):
    key, certificate = make_certificate(tmp_path)
    with running(saved_models, key=key, certificate=certificate) as server:
        arguments = ["caption", "--server", f"localhost:{server.port}", pictures]
        code, out, _ = run(capsys, *arguments, "--tls-root", certificate)
        assert code == 0 and "a.png" in out


def test_asking_a_server_loads_no_model(server, pictures):
    program = (
        "import sys; sys.argv[0] = 'lrcn'\n"
        "import atexit, zoo.cli\n"
        "names = lambda: sorted(name for name in sys.modules if name.startswith('zoo.'))\n"
        "atexit.register(lambda: print(*names()))\n"
        "zoo.cli.main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "caption", "--server", server, str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "a.png" in done.stdout and not done.stderr
    loaded = [n for n in done.stdout.splitlines()[-1].split() if not re.match(r"zoo\.cli\b", n)]
    assert loaded == ["zoo.serving", "zoo.serving.client"]


def test_demo_serves_the_model_and_captions_photographs_of_other_packages(
    preset, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo" / "saved_models" / "lrcn_captioner" / "1").mkdir(parents=True)
    page = tmp_path / "page.html"
    code, out, _ = run(capsys, "demo", "--model", preset, "--html", page)
    assert code == 0 and page.exists()
    assert all(file in out for _, file in PICTURES)
    assert len(re.findall(r"^  +-\d", out, re.MULTILINE)) == 3 * len(PICTURES)
    versions = (tmp_path / "demo" / "saved_models" / "lrcn_captioner").iterdir()
    assert [version.name for version in versions] == ["2"]  # the earlier one is gone
    with pytest.raises(ConnectionRefusedError):  # its server is, too
        socket.create_connection((LOOPBACK, int(re.search(r"Serving at .*:(\d+)", out)[1])))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
def test_a_demo_that_is_ended_ends_its_server(saved_models, tmp_path):
    with (
        pytest.raises(SystemExit) as stopped,
        demo.ended_in_order(),
        serving(saved_models, tmp_path / "log") as (_, address),
    ):
        socket.create_connection(address.split(":")).close()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert stopped.value.code == 128 + signal.SIGTERM
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address.split(":"))


def test_a_server_that_does_not_start_says_why(tmp_path):
    (tmp_path / "empty").mkdir()
    message = f"log ends with: lrcn: No model to serve in {tmp_path / 'empty'}"
    with (
        pytest.raises(ChildProcessError, match=re.escape(message)),
        serving(tmp_path / "empty", tmp_path / "log"),
    ):
        pytest.fail("there is nothing to serve")


def test_server_and_demo_name_the_extra_that_they_need(preset, tmp_path, monkeypatch, capsys):
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "zoo.serving.local_server.server")
    monkeypatch.delattr(zoo.serving.local_server, "server")
    for command in (["serve", tmp_path], ["demo", "--model", preset]):
        code, _, err = run(capsys, *command)
        assert code == 1 and "uvicorn" in err and 'pip install "lrcn-zoo[serve]"' in err
    assert not (tmp_path / "demo").exists()


def test_help_does_not_wait_for_tensorflow():
    lrcn = pathlib.Path(sys.executable).with_name("lrcn")
    if not lrcn.exists():
        pytest.skip("the package is not installed: there is no command `lrcn`")
    start = time.monotonic()
    shown = subprocess.run([lrcn, "--help"], capture_output=True, text=True, check=True)
    assert "caption" in shown.stdout and not shown.stderr
    assert time.monotonic() - start < 2  # TensorFlow alone takes longer


def test_help_imports_nothing_heavy():
    program = (
        "import sys; sys.argv[0] = 'lrcn'\n"
        "import atexit, zoo.cli\n"
        "atexit.register(lambda: print(*{name.partition('.')[0] for name in sys.modules}))\n"
        "zoo.cli.main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and "data-service" in done.stdout
    heavy = {"tensorflow", "keras", "numpy", "PIL", "cv2", "av", "grpc", "h5py", "matplotlib"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())


def test_find_pictures_keeps_named_files_in_their_order(pictures):
    named = [str(pictures / "notes.txt"), str(pictures / "a.png")]
    assert find_pictures(named) == named
    assert np.all([name.startswith(str(pictures)) for name in find_pictures([pictures])])
