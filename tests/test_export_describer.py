"""An exported describer answers as the library does, whatever its neighbours' rows are."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from made_videos import grey, write_video
from served_pictures import library_frames, noise_jpegs
from serving_models import (
    LOOPBACK,
    describer_export,
    folder_for_this_run,
    predict,
    running,
    stub_of,
    tiny_describer,
)

from zoo.data.videos.clips import resize_frames, spread_frames, view_frames
from zoo.data.videos.reading import frame_times, read_frames
from zoo.decoding import Constraints
from zoo.serving.client import Client
from zoo.serving.export import export
from zoo.serving.signatures.frames import BAD_COUNT
from zoo.text.vocabulary import UNKNOWN

BATCHING = pathlib.Path(__file__).parents[1] / "saved_models" / "batching_parameters.txt"


@pytest.fixture(scope="module")
def clips():
    return [noise_jpegs(4, seed, height=20 + 5 * seed) for seed in range(4)]


@pytest.fixture(scope="module")
def served():
    version = describer_export() / "lrcn_video_describer" / "1"
    return tf.saved_model.load(str(version)).signatures


@pytest.fixture(scope="module")
def server():
    with running(describer_export(), batch=BATCHING) as server:
        yield server


def local(describer, videos):
    """Sentences and log-probabilities of arrays, or of a pair of them and the counts."""
    sampler, constraints = describer.sampler, Constraints(forbidden_ids=(UNKNOWN,))
    decoded = describer.generate(videos, sampler, constraints=constraints)
    sentences = [describer.vocabulary.decode(ids[0]) for ids in decoded.token_ids]
    return sentences, decoded.log_probs[:, 0]


def ask(served, frames, num_frames, signature="serving_default"):
    return served[signature](frames=tf.constant(frames), num_frames=tf.constant(num_frames))


def test_served_sentence_is_the_libraries_of_the_frames_that_count(served, clips):
    counts = [4, 2, 1, 3]
    answer = ask(served, clips, counts)
    videos = np.stack([library_frames(clip) for clip in clips])
    sentences, log_probs = local(tiny_describer(), (videos, counts))
    assert [text.decode() for text in answer["caption"].numpy()] == sentences
    np.testing.assert_allclose(answer["log_prob"], log_probs, atol=1e-3)
    assert answer["captions"].shape == (4, 3) and len(set(sentences)) > 1
    assert answer["status"].numpy().tolist() == [b"ok"] * 4


def test_features_once_give_the_sentence_that_frames_give(served, clips):
    counts = [4, 2, 1, 3]
    features = ask(served, clips, counts, "features")["features"]
    again = served["describe_features"](features=features, num_frames=tf.constant(counts))
    expected = ask(served, clips, counts)
    np.testing.assert_array_equal(again["captions"], expected["captions"])
    wrong = served["describe_features"](features=features, num_frames=tf.constant([0, 5, 1, 3]))
    assert wrong["status"].numpy().tolist() == [BAD_COUNT.encode()] * 2 + [b"ok"] * 2
    assert wrong["caption"].numpy()[:2].tolist() == [b"", b""]


def test_served_roles_are_those_of_the_recogniser(served, clips):
    answer = ask(served, clips, [4] * 4, "roles")
    describer = tiny_describer()
    labels, probabilities = describer.recognizer.recognize(
        np.stack([library_frames(c) for c in clips])
    )
    names = [[own[n] for own, n in zip(describer.roles.values(), row, strict=True)]
             for row in labels]  # fmt: skip
    assert [[text.decode() for text in row] for row in answer["labels"].numpy()] == names
    chosen = np.stack([probabilities[:, :3], np.pad(probabilities[:, 3:], [(0, 0), (0, 1)])], 1)
    chosen = np.take_along_axis(chosen, labels[..., None], 2)[..., 0]
    np.testing.assert_allclose(answer["probabilities"], chosen, atol=1e-4)


def test_a_bad_row_says_why_and_leaves_the_others_alone(served, clips):
    good = clips[0]
    rows = {
        "frame 0: empty": ([b"", *good[1:]], 4),
        "frame 2: not an image": ([*good[:2], b"no picture", good[3]], 4),
        "frame 3: damaged": ([*good[:3], good[3][:300]], 4),
        "ok": (good, 4),
        BAD_COUNT: (good, 0),
    }
    answer = ask(served, [frames for frames, _ in rows.values()], [n for _, n in rows.values()])
    assert [status.decode() for status in answer["status"].numpy()] == list(rows)
    alone = ask(served, [good], [4])
    np.testing.assert_array_equal(answer["captions"][3], alone["captions"][0])
    assert set(answer["captions"].numpy()[[0, 1, 2, 4]].ravel()) == {b""}
    assert not answer["log_probs"].numpy()[[0, 1, 2, 4]].any()


@pytest.mark.parametrize("signature", ["serving_default", "roles"])
def test_rows_without_frames_are_answered_too(served, signature):
    answer = served[signature](frames=tf.fill([2, 0], b""), num_frames=tf.constant([0, 1]))
    assert answer["status"].numpy().tolist() == [BAD_COUNT.encode()] * 2


@pytest.mark.parametrize(
    ("visual", "architecture"),
    [("frames", "encoder_decoder"), ("frames", "decoder"), ("labels_max", "encoder_decoder")],
)
def test_other_kinds_are_exported_too(visual, architecture, clips):
    describer = tiny_describer(visual, architecture)
    version = export(describer, folder_for_this_run(), "describer")
    served = tf.saved_model.load(str(version)).signatures
    assert ("roles" in served) == (visual != "frames")
    answer = ask(served, clips, [4, 2, 1, 3])
    sentences, log_probs = local(
        describer, (np.stack([library_frames(clip) for clip in clips]), [4, 2, 1, 3])
    )
    assert [text.decode() for text in answer["caption"].numpy()] == sentences
    np.testing.assert_allclose(answer["log_prob"], log_probs, atol=1e-3)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    frames = grey(np.tile([30, 200, 90, 140, 60], 9))  # which JPEG leaves nearly as they are
    path = tmp_path_factory.mktemp("video") / "street.mp4"
    return str(write_video(path, frames, rate=10))


def test_client_describes_a_video_and_its_segments(server, video, tmp_path):
    describer = tiny_describer()
    frames = [squares_of(frame) for frame in read_frames(video, 10.0)]
    assert len(frames) == len(frame_times(video, 10.0)) == 45
    whole = np.stack([frames[n] for n in spread_frames(45, 6)])[None]
    with Client(f"{LOOPBACK}:{server.port}", timeout=60) as client:
        described = client.describe(video)
        segments = list(client.describe_segments(video, 2.0))
        with pytest.raises(Exception, match="no such file"):
            client.describe(str(tmp_path / "gone.mp4"))
    # The frames were JPEGs on their way.
    _, (log_prob,) = local(describer, whole)
    np.testing.assert_allclose(described.log_probs[0], log_prob, rtol=0.1)
    assert len(described.sentences) == 3 and described.log_probs == sorted(
        described.log_probs, reverse=True
    )
    assert [segment[:2] for segment in segments] == [(0.0, 2.0), (2.0, 4.5)]
    assert all(described.sentences[0] for *_, described in segments)


def squares_of(frame):
    return view_frames(resize_frames(frame[None], (20, 24)), 16, ["center"])[0, 0].numpy()


def test_describe_command_says_the_same_with_and_without_a_server(server, video, capsys, tmp_path):
    from zoo.cli import main

    tiny_describer().save_to_preset(tmp_path / "tiny", tiny_describer().metadata)

    def run(*options):
        with pytest.raises(SystemExit) as stopped:
            main(["describe", *options, "--segments", "2s", "--json", video])
        assert stopped.value.code == 0
        return json.loads(capsys.readouterr().out)[0]["segments"]

    here = run("--model", str(tmp_path / "tiny"))
    there = run("--server", f"{LOOPBACK}:{server.port}")
    assert [(s["start"], s["end"]) for s in here] == [(s["start"], s["end"]) for s in there]
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one["log_prob"], other["log_prob"], rtol=0.1)


def test_requests_of_1_and_4_frames_are_merged_and_get_their_own_answers(server, clips):
    with stub_of(server) as stub:
        for frames in (clips[0][:1], clips[1]):
            inputs = {"frames": [frames], "num_frames": np.array([len(frames)], np.int32)}
            outputs = stub.Predict(predict("name: 'lrcn_video_describer'", inputs), 60).outputs
            (sentence,), _ = local(tiny_describer(), library_frames(frames)[None])
            assert outputs["caption"].string_val[0].decode() == sentence


def test_model_that_cannot_be_exported_says_what_it_lacks(tmp_path):
    from zoo import lrcn_video_describer, semantic_role_recognizer

    with pytest.raises(ValueError, match="fed labels cannot be exported"):
        export(lrcn_video_describer([3, 2], 9, "labels_max", "decoder"), tmp_path)
    with pytest.raises(ValueError, match="Got SemanticRoleRecognizer"):
        export(semantic_role_recognizer(4, [2, 2]), tmp_path)
