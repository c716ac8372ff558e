"""An exported recogniser answers as the library does, whatever its neighbours' rows are."""

import concurrent.futures
import json
import pathlib

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from made_videos import write_video
from served_pictures import library_frames, noise_jpegs
from serving_models import (
    LOOPBACK,
    predict,
    recognizer_export,
    running,
    stub_of,
    tiny_captioner,
    tiny_recognizer,
)
from tensorflow_serving.apis import classification_pb2

from zoo import single_frame_recognizer
from zoo.inference.classify_video import classify_clips, compare_with_training
from zoo.models.backbones import image_encoder
from zoo.models.feature_statistics import FeatureStatistics
from zoo.presets import from_preset
from zoo.serving.client import Client, ServerError
from zoo.serving.export import export
from zoo.serving.signatures.frames import BAD_COUNT, MAX_FRAMES
from zoo.serving.signatures.recognizer import BAD_STATE

BATCHING = pathlib.Path(__file__).parents[1] / "saved_models" / "batching_parameters.txt"
NAMES = ["walk", "run", "café"]


@pytest.fixture(scope="module")
def clips():
    return [noise_jpegs(4, seed, height=20 + 5 * seed) for seed in range(3)]


@pytest.fixture(scope="module")
def served():
    version = recognizer_export() / "lrcn_activity_recognizer" / "1"
    return tf.saved_model.load(str(version)).signatures


@pytest.fixture(scope="module")
def server():
    with running(recognizer_export(), batch=BATCHING) as server:
        yield server


def by_class(labels, probabilities):
    """Probabilities in the order of the classes, `(rows, classes)`; labels are sorted by them."""
    assert (np.diff(probabilities, axis=1) <= 0).all()
    rows = [dict(zip(row, p, strict=True)) for row, p in zip(labels, probabilities, strict=True)]
    return np.array([[row[name.encode()] for name in NAMES] for row in rows])


def said(answer):
    return by_class(answer["labels"].numpy(), answer["probabilities"].numpy())


def ask(served, frames, num_frames, signature="serving_default"):
    return served[signature](frames=tf.constant(frames), num_frames=tf.constant(num_frames))


def test_served_answer_is_the_libraries_mean_over_the_frames_that_count(served, clips):
    answer = ask(served, clips, [4, 2, 1])
    local = tiny_recognizer().classify(np.stack([library_frames(clip) for clip in clips]))
    expected = [local[0].mean(0), local[1, :2].mean(0), local[2, :1].mean(0)]
    np.testing.assert_allclose(said(answer), expected, atol=1e-4)
    assert answer["status"].numpy().tolist() == [b"ok"] * 3
    assert np.ptp(expected, axis=0).max() > 0.03  # the clips differ


def test_features_once_give_the_answer_that_frames_give(served, clips):
    features = ask(served, clips, [4, 4, 3], "features")
    local = tiny_recognizer().frame_encoder.predict(library_frames(clips[0]), verbose=0)
    np.testing.assert_allclose(features["features"][0], local, atol=1e-4)
    assert not features["features"].numpy()[2, 3].any()
    again = served["classify_features"](
        features=features["features"], num_frames=tf.constant([4, 4, 3])
    )
    np.testing.assert_allclose(said(again), said(ask(served, clips, [4, 4, 3])), atol=1e-5)
    wrong = served["classify_features"](
        features=features["features"], num_frames=tf.constant([0, 5, 3])
    )
    assert wrong["status"].numpy().tolist() == [BAD_COUNT.encode()] * 2 + [b"ok"]


def test_steps_give_what_the_library_says_at_each_frame_and_need_no_zero_state(served, clips):
    local = tiny_recognizer().classify(np.stack([library_frames(clip) for clip in clips]))
    state, first = np.full((3, 1), np.nan, np.float32), True
    for t in range(4):
        answer = served["step"](
            frame=tf.constant([clip[t] for clip in clips]),
            is_first=tf.fill([3], first),
            state=tf.constant(state),
        )
        np.testing.assert_allclose(said(answer), local[:, t], atol=1e-4)
        state, first = answer["state"].numpy(), False
    assert state.shape == (3, 16)


def test_a_bad_frame_or_state_leaves_the_stream_where_it_was(served, clips):
    def step(frames, first, state):
        return served["step"](
            frame=tf.constant(frames), is_first=tf.constant(first), state=tf.constant(state)
        )

    start = step([clips[0][0], clips[1][0]], [True, True], np.zeros((2, 16), "float32"))
    state = start["state"].numpy()
    answer = step([b"", clips[1][1]], [False, False], state)
    assert answer["status"].numpy().tolist() == [b"empty", b"ok"]
    np.testing.assert_array_equal(answer["state"][0], state[0])
    assert not answer["probabilities"].numpy()[0].any()
    again = step([clips[0][1], clips[1][0]], [False, True], answer["state"].numpy())
    local = tiny_recognizer().classify(np.stack([library_frames(clips[0])]))
    np.testing.assert_allclose(said(again)[0], local[0, 1], atol=1e-4)
    np.testing.assert_allclose(said(again)[1], said(start)[1], atol=1e-4)
    narrow = step([clips[0][1], clips[1][0]], [False, True], state[:, :3])
    assert narrow["status"].numpy().tolist() == [BAD_STATE.encode(), b"ok"]


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
    np.testing.assert_allclose(answer["probabilities"][3], alone["probabilities"][0], atol=1e-6)
    assert not answer["probabilities"].numpy()[[0, 1, 2, 4]].any()
    assert set(answer["labels"].numpy()[[0, 1, 2, 4]].ravel()) == {b""}
    more = ask(served, [good], [5])
    assert more["status"].numpy().tolist() == [BAD_COUNT.encode()]
    assert ask(served, [[b""]], [1], "features")["features"].shape == (1, 1, 6)


def test_frames_behind_the_last_one_are_never_decoded(served, clips):
    padded = [[*clips[0][:2], b"no picture", b""]]
    answer = ask(served, padded, [2])
    assert answer["status"].numpy().tolist() == [b"ok"]
    np.testing.assert_allclose(said(answer), said(ask(served, [clips[0][:2]], [2])), atol=1e-6)


def test_a_row_has_at_most_64_frames(served, clips):
    one = clips[0][0]
    full, over = ask(served, [[one] * 70] * 2, [MAX_FRAMES, MAX_FRAMES + 1])["status"].numpy()
    assert (full, over) == (b"ok", BAD_COUNT.encode())
    long = ask(served, [[one] * MAX_FRAMES], [MAX_FRAMES])
    local = tiny_recognizer().classify(np.stack([library_frames([one])] * MAX_FRAMES, axis=1))
    np.testing.assert_allclose(said(long), local.mean(1), atol=1e-4)


def example(frames):
    made = tf.train.Example()
    made.features.feature["frames"].bytes_list.value.extend(frames)
    return made


def test_classify_call_answers_from_examples(server, clips):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "lrcn_activity_recognizer"
    request.model_spec.signature_name = "classify"
    request.input.example_list.examples.extend([example(clips[0]), example(clips[1][:2])])
    with stub_of(server) as stub:
        found = stub.Classify(request, timeout=30).result.classifications
        inputs = {"inputs": [example(clips[0]).SerializeToString(), b"no example", b""]}
        spec = "name: 'lrcn_activity_recognizer' signature_name: 'classify'"
        mixed = stub.Predict(predict(spec, inputs), timeout=30).outputs
    labels = [[c.label.encode() for c in row.classes] for row in found]
    scores = np.array([[c.score for c in row.classes] for row in found])
    local = tiny_recognizer().classify(np.stack([library_frames(clip) for clip in clips[:2]]))
    expected = [local[0].mean(0), local[1, :2].mean(0)]
    np.testing.assert_allclose(by_class(labels, scores), expected, atol=1e-4)
    mixed = np.array(mixed["scores"].float_val).reshape(3, 3)
    np.testing.assert_allclose(mixed[0], scores[0], atol=1e-5)
    assert not mixed[1:].any()


def test_requests_of_1_5_and_16_frames_are_merged_and_get_their_own_answers(server, clips):
    frames = [frame for clip in clips for frame in clip] * 2
    requests = [
        predict(
            "name: 'lrcn_activity_recognizer'",
            {"frames": [frames[i : i + n]], "num_frames": np.array([n], np.int32)},
        )
        for i, n in ((0, 1), (1, 5), (2, 16))
    ]
    shapes, runner = [], server.core.runner
    with stub_of(server) as stub, concurrent.futures.ThreadPoolExecutor(12) as pool:

        def answer(request):
            outputs = stub.Predict(request, timeout=60).outputs
            assert outputs["status"].string_val[0] == b"ok"
            return outputs["probabilities"].float_val[:], outputs["labels"].string_val[:]

        alone = [answer(request) for request in requests]
        run_batch = runner._run_batch

        def noting(servable, signature, tasks):
            shapes.append([task.inputs["frames"].shape[1] for task in tasks])
            return run_batch(servable, signature, tasks)

        runner._run_batch = noting
        merged = list(pool.map(answer, requests * 4))
        runner._run_batch = run_batch
    for (p, labels), (expected, names) in zip(merged, alone * 4, strict=True):
        np.testing.assert_allclose(p, expected, atol=1e-5)
        assert labels == names
    assert any(len(set(lengths)) > 1 for lengths in shapes), shapes


def moving(num_frames):
    rng = np.random.default_rng(1)
    tiles = rng.integers(0, 256, (num_frames, 4, 5, 3), np.uint8)
    return tiles.repeat(8, axis=1).repeat(8, axis=2)  # 32 x 40


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "street.mp4"
    return str(write_video(path, moving(45), rate=10))


def test_client_says_of_a_video_what_the_library_says(server, video, tmp_path):
    recognizer = tiny_recognizer()
    local = list(classify_clips(recognizer, video))
    with Client(f"{LOOPBACK}:{server.port}", timeout=60) as client:
        clips = list(client.classify_clips(video))
        answer = client.classify(video, top=2)
        with pytest.raises(Exception, match="no such file"):
            client.classify(str(tmp_path / "gone.mp4"))
    assert [clip[:2] for clip in clips] == [clip[:2] for clip in local] and len(clips) > 16
    # The frames were JPEGs on their way.
    found = np.array([[said[name] for name in NAMES] for *_, said in clips])
    np.testing.assert_allclose(found, [p for *_, p in local], atol=0.03)
    mean = found.mean(0)
    assert answer.labels == [NAMES[n] for n in np.argsort(-mean)[:2]]
    np.testing.assert_allclose(answer.probabilities, np.sort(mean)[::-1][:2], atol=1e-6)


def test_classify_command_asks_a_server(server, video, capsys, tmp_path):
    from zoo.cli import main

    tiny_recognizer().save_to_preset(tmp_path / "tiny", tiny_recognizer().metadata)

    def run(*options):
        with pytest.raises(SystemExit) as stopped:
            main(["classify", *options, "--json", video])
        assert stopped.value.code == 0
        return json.loads(capsys.readouterr().out)[0]

    local = run("--model", str(tmp_path / "tiny"))
    asked = run("--server", f"{LOOPBACK}:{server.port}")
    assert len(asked["timeline"]) == len(local["timeline"])
    assert [x["label"] for x in asked["labels"]] == [x["label"] for x in local["labels"]]
    found, expected = ([x["probability"] for x in r["labels"]] for r in (asked, local))
    np.testing.assert_allclose(found, expected, atol=0.03)


@pytest.fixture(scope="module")
def scoped(tmp_path_factory):
    """A recognizer with a scope and statistics of training videos."""
    folder = tmp_path_factory.mktemp("scoped")
    metadata = {**tiny_recognizer().metadata, "scope": "It tells gaits apart."}
    tiny_recognizer().save_to_preset(folder / "tiny", metadata)
    recognizer = from_preset(folder / "tiny")
    random = np.random.default_rng(3)
    videos = [recognizer.encode_frames(random.integers(0, 60, (8, 16, 16, 3))) for _ in range(25)]
    recognizer.feature_statistics = FeatureStatistics.fit(videos)
    recognizer.save_to_preset(folder / "tiny", metadata)
    export(from_preset(folder / "tiny"), folder / "saved_models")
    return folder


def test_served_distance_is_the_librarys_row_by_row(scoped, clips):
    recognizer = from_preset(scoped / "tiny")
    version = scoped / "saved_models" / "lrcn_activity_recognizer" / "1"
    served = tf.saved_model.load(str(version)).signatures
    features = ask(served, clips, [4, 3, 1], "features")["features"]
    answer = served["compare_features"](features=features, num_frames=tf.constant([4, 3, 5]))
    for row, count in ((0, 4), (1, 3)):
        local = recognizer.compare_with_training(library_frames(clips[row])[:count])
        assert float(answer["distance"][row]) == pytest.approx(local.distance, rel=1e-4)
    assert answer["status"].numpy().tolist() == [b"ok", b"ok", BAD_COUNT.encode()]
    assert float(answer["distance"][2]) == 0


def test_client_and_command_warn_of_an_unlike_video(scoped, server, video, capsys):
    from zoo.cli import main

    recognizer = from_preset(scoped / "tiny")
    expected = compare_with_training(recognizer, video)
    assert expected.is_unlike  # bright tiles instead of dark noise
    with running(scoped / "saved_models") as other:
        address = f"{LOOPBACK}:{other.port}"
        with Client(address, timeout=60) as client:
            found = client.classify(video).distance
            assert client.scope() == "It tells gaits apart."
        with pytest.raises(SystemExit):
            main(["classify", "--server", address, video])
    assert found.distance == pytest.approx(expected.distance, rel=0.05)  # they were JPEGs
    assert found.threshold == pytest.approx(expected.threshold) and found.is_unlike
    out = capsys.readouterr().out
    assert "warning: this video is unlike" in out and "It tells gaits apart." in out
    with Client(f"{LOOPBACK}:{server.port}", timeout=60) as client:  # a model without them
        assert client.scope() is None and client.compare_with_training(video) is None


def test_client_of_a_server_without_the_model_says_so(video):
    with (
        running(recognizer_export()) as server,
        Client(f"{LOOPBACK}:{server.port}", model="other") as client,
        pytest.raises(ServerError, match="NOT_FOUND") as error,
    ):
        client.classify(video)
    assert error.value.code == grpc.StatusCode.NOT_FOUND


def test_baseline_is_exported_too(tmp_path, clips):
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])
    baseline = single_frame_recognizer(image_encoder(network, (1 / 255, 0.0)), 3)
    baseline.class_names, baseline.metadata = NAMES, tiny_recognizer().metadata
    baseline.save_to_preset(tmp_path / "preset", baseline.metadata)
    baseline = from_preset(tmp_path / "preset")
    version = export(baseline, tmp_path / "saved_models", "frames")
    served = tf.saved_model.load(str(version)).signatures
    local = baseline.classify(np.stack([library_frames(clip) for clip in clips]))
    np.testing.assert_allclose(said(ask(served, clips, [4] * 3)), local.mean(1), atol=1e-4)
    assert "step" not in served  # it would carry nothing


def test_model_that_cannot_be_exported_says_what_it_lacks(tmp_path):
    with pytest.raises(ValueError, match="class names and .*frames"):
        export(single_frame_recognizer(6, 3), tmp_path)
    with pytest.raises(ValueError, match="plain name"):
        export(tiny_captioner(), tmp_path, "../elsewhere")
