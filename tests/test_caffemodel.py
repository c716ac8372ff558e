"""Reading `.caffemodel` files: all generations of the format, and what is no such file."""

import gzip
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from caffe_files import LENGTH, blob, field, layer, net, varint, write_net

from zoo.convert.caffe import read_caffemodel

ARRAYS = {
    "conv1": [np.arange(24).reshape(2, 3, 2, 2) / 7, np.array([0.5, -1.5])],
    "fc8-ucf": [np.linspace(-1e-3, 1e3, 6).reshape(3, 2), np.zeros(3)],
}
AS_LRCN = "import sys; sys.argv[0] = 'lrcn'; "  # the command does not wait for Keras


def written(folder, content):
    path = folder / "a.caffemodel"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("generation", [0, 1, 2])
@pytest.mark.parametrize(("legacy", "packed", "double"), itertools.product([False, True], repeat=3))
def test_every_generation_is_read(tmp_path, generation, legacy, packed, double):
    content = net(ARRAYS, generation, legacy=legacy, packed=packed, double=double)
    read = read_caffemodel(written(tmp_path, content))
    assert list(read) == list(ARRAYS)  # and not relu1, which has no blobs
    for name, arrays in ARRAYS.items():
        for found, array in zip(read[name], arrays, strict=True):
            shape = (1,) * (4 - array.ndim) + array.shape if legacy else array.shape
            dtype = "float64" if double else "float32"
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, array.reshape(shape).astype(dtype))


def test_numbers_in_several_pieces_are_put_together(tmp_path):
    first, second = (np.arange(n, n + 3, dtype="<f4").tobytes() for n in (0, 3))
    pieces = field(7, field(1, varint(6))) + field(5, first) + field(5, second)
    read = read_caffemodel(written(tmp_path, layer("fc", [pieces])))
    np.testing.assert_array_equal(read["fc"], [np.arange(6)])


def test_settings_of_a_fork_are_passed_over(tmp_path):
    mine = (
        field(1, b"lstm1") + field(7, blob([[1.0, 2.0]])) + field(132, b"\xff\xff") + field(140, 9)
    )
    content = field(1, b"net") + field(100, mine) + field(8, b"\x00\x01") + varint(300 << 3 | 5)
    read = read_caffemodel(written(tmp_path, content + b"\x00\x00\x80\x3f"))
    np.testing.assert_array_equal(read["lstm1"], [[[1, 2]]])


def test_blob_of_one_number_may_have_no_shape(tmp_path):
    read = read_caffemodel(written(tmp_path, layer("scale", [field(5, b"\x00\x00\x80\x3f")])))
    assert read["scale"][0].shape == () and read["scale"][0] == 1


def test_name_in_another_encoding_is_shown_escaped(tmp_path):
    content = field(100, field(1, b"conv\xe9") + field(7, blob([1.0])))
    assert list(read_caffemodel(written(tmp_path, content))) == ["conv\\xe9"]


def test_file_that_was_cut_anywhere_is_an_error_or_lacks_layers(tmp_path):
    content = net(ARRAYS)
    errors = 0
    for size in range(1, len(content)):
        try:
            read = read_caffemodel(written(tmp_path, content[:size]))
            assert list(read) == ["conv1"]  # cut between two layers
        except ValueError as error:
            errors += "no whole .caffemodel" in str(error) or "holds no layer" in str(error)
    assert errors == len(content) - 2


def test_damaged_file_is_an_error_where_protobuf_has_no_compiled_part(tmp_path):
    path = written(tmp_path, net(ARRAYS)[:-5] + b"\xff\xff\xff\xff\xff")
    script = (
        f"{AS_LRCN}from zoo.convert.caffe import read_caffemodel; read_caffemodel({str(path)!r})"
    )
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "no whole .caffemodel: a layer is damaged" in done.stderr.splitlines()[-1]


def test_damaged_bytes_are_a_value_error_at_worst(tmp_path):
    rng, content = np.random.default_rng(0), bytearray(net(ARRAYS))
    errors = 0
    for _ in range(1500):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        try:
            read_caffemodel(written(tmp_path, damaged))
        except ValueError:
            errors += 1
    assert errors > 100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404", "begins with b'<!DOCTYPE html>"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "begins with b'.x89HDF"),
        (gzip.compress(net(ARRAYS)), "no whole .caffemodel"),
        (b'name: "CaffeNet"\nlayer {\n', "no whole .caffemodel"),
        (field(1, b"net") + field(2, b"snapshot.caffemodel"), "a layer is damaged"),  # solverstate
        (blob(np.zeros((1, 3, 2, 2)), legacy=True), "holds no layer with weights"),  # mean image
        (field(1, b"net") + layer("relu", []), "holds no layer with weights"),
        (b"\xff" * 40, "more than ten bytes"),
        (varint(100 << 3 | LENGTH) + varint(2**62) + b"x", "it ends 4611686018427387903 bytes"),
        (layer("a", [blob([1.0])] * 65), "layer 'a' has 65 blobs, more than 64"),
        (layer("a", []) * 10_001, "more than 10000 layers"),
        (layer("a", [blob([1.0])]) * 2, "two layers with weights are called 'a'"),
    ],
)
def test_what_is_no_caffemodel_is_said(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_caffemodel(written(tmp_path, content))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([2**40, 2**40], "has 1 numbers, but the shape"),  # nothing of that size is made
        ([2**64 - 1], "has the shape"),  # -1
        ([1] * 33, "has 33 sides"),
        ([2], "has 1 numbers, but the shape"),
        ([0], "has the shape"),
        ([0, 2**63 - 1, 2**63 - 1], "has the shape"),
    ],
)
def test_shape_that_contradicts_the_numbers_is_said(tmp_path, shape, message):
    one = field(7, field(1, b"".join(map(varint, shape)))) + field(5, b"\x00\x00\x80\x3f")
    with pytest.raises(ValueError, match=message):
        read_caffemodel(written(tmp_path, layer("a", [one])))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.caffemodel"):
        read_caffemodel(tmp_path / "nowhere.caffemodel")


def test_large_file_is_held_in_memory_once(tmp_path):
    layers = {f"fc{n}": [np.full((1024, 2048), n)] for n in range(16)}  # 8 MB each
    path = write_net(tmp_path / "large.caffemodel", layers)
    script = f"""{AS_LRCN}
import pathlib
from zoo.convert.caffe import read_caffemodel

def kilobytes(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])

before = kilobytes("VmHWM")
blobs = read_caffemodel({str(path)!r})
assert len(blobs) == 16 and blobs["fc7"][0][5, 5] == 7
print(kilobytes("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    size = path.stat().st_size / 1024
    # The mapped file counts too, though it takes no memory from anybody; of one layer a copy.
    assert size < int(done.stdout) < 2.3 * size, done.stderr
