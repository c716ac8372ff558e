import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from zoo.data.images.decode import (
    DAMAGED,
    EMPTY,
    NOT_AN_IMAGE,
    OK,
    TOO_LARGE,
    decode_image,
    explain,
    image_status,
    read_images,
    resize_image,
    resize_images,
)
from zoo.data.images.headers import read_header

CORE = """
AddV2 All Any Assert BatchDatasetV2 Case Cast Const DatasetToSingleElement DecodeBmp DecodeImage
DecodeJpeg DecodePng DecodeRaw EnsureShape Equal ExpandDims ExtractJpegShape FloorDiv FloorMod
GatherV2 Greater GreaterEqual Identity If IgnoreErrorsDataset LeftShift Less LessEqual
LogicalAnd LogicalNot LogicalOr MapDataset Max Maximum MergeV2Checkpoints Minimum Mul NoOp Pack
Pad PartitionedCall Placeholder Range RealDiv Reshape RestoreV2 ReverseV2 SaveV2
ScaleAndTranslate ScatterNd Select SelectV2 Shape ShardedFilename Size Squeeze
StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StaticRegexFullMatch
StridedSlice StringJoin StringLength Sub Substr Sum TensorSliceDataset Transpose Unpack
"""
BYTES = [tf.TensorSpec((), tf.string)]
in_graph = tf.function(decode_image, input_signature=BYTES, autograph=False)
status_in_graph = tf.function(image_status, input_signature=BYTES, autograph=False)
header_in_graph = tf.function(read_header, input_signature=BYTES, autograph=False)


def photograph(height=21, width=34, mode="RGB"):
    """A smooth picture with a bright corner: JPEG keeps it, and no turn of it equals another."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([6 * columns, 9 * rows, 128 + 2 * (columns - rows)], axis=-1)
    pixels[:6, :9] = 250
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_pillow(image_bytes):
    with Image.open(io.BytesIO(image_bytes)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)


def assert_decoded(image_bytes, expected, tolerance=0):
    decoded = in_graph(image_bytes).numpy().astype(int)
    assert decoded.shape == expected.shape
    assert np.abs(decoded - expected).max() <= tolerance
    header = header_in_graph(image_bytes)
    assert status_in_graph(image_bytes) == OK
    assert {int(header.height), int(header.width)} == set(expected.shape[:2])


def jpeg_with_exif(order, orientation, kind=3, image=None):
    """A JPEG whose EXIF holds three tags, orientation the second, in the given byte order."""
    first = order + "HHIHH"  # tag, type, count, value, nothing
    tags = [(0x0100, 3, 1, 34, 0), (0x0112, kind, 1, orientation, 0), (0x0128, 3, 1, 2, 0)]
    directory = struct.pack(order + "H", 3) + b"".join(struct.pack(first, *tag) for tag in tags)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tiff = mark + struct.pack(order + "I", 8) + directory + bytes(4)
    return encoded(image or photograph(), "JPEG", quality=95, exif=b"Exif\0\0" + tiff)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_decoded_as_by_pillow(mode, progressive):
    image_bytes = encoded(photograph(mode=mode), "JPEG", quality=90, progressive=progressive)
    assert_decoded(image_bytes, by_pillow(image_bytes), tolerance=2)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "LA", "RGBA"])
def test_png_is_decoded_as_by_pillow_and_alpha_is_dropped(mode):
    image = photograph(mode=mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(77)
    image_bytes = encoded(image, "PNG")
    assert_decoded(image_bytes, by_pillow(image_bytes))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_of_16_bits_loses_the_lower_8(channels):
    pixels = np.random.default_rng(0).integers(0, 2**16, (5, 7, channels), dtype=np.uint16)
    expected = np.broadcast_to((pixels >> 8)[..., :3], (5, 7, 3)).astype(int)
    assert_decoded(tf.io.encode_png(pixels).numpy(), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_bmp_is_decoded_as_by_pillow(mode):
    image_bytes = encoded(photograph(mode=mode), "BMP")
    assert_decoded(image_bytes, by_pillow(image_bytes))


def test_bmp_from_top_to_bottom_is_upright():
    image_bytes = encoded(photograph(), "BMP")
    turned = image_bytes[:22] + struct.pack("<i", -21) + image_bytes[26:]
    assert_decoded(turned, by_pillow(turned))
    assert np.abs(by_pillow(turned) - by_pillow(image_bytes)).max() > 0


@pytest.mark.parametrize("mode", ["1", "RLE"])
def test_bmp_that_tensorflow_would_misread_is_refused(mode):
    image_bytes = encoded(photograph(mode="1" if mode == "1" else "L"), "BMP")
    if mode == "RLE":
        image_bytes = image_bytes[:30] + b"\x01" + image_bytes[31:]
    assert status_in_graph(image_bytes) == DAMAGED


def animation():
    first = photograph(mode="P")
    frames = [first.rotate(180), first.rotate(90)]
    image_bytes = encoded(
        first, "GIF", save_all=True, append_images=frames, comment=b"x" * 700, loop=0
    )
    return image_bytes, by_pillow(image_bytes)


def test_gif_gives_its_first_frame_whatever_follows():
    image_bytes, first = animation()
    assert_decoded(image_bytes, first)
    second = image_bytes.index(b"!\xf9", image_bytes.index(b"!\xf9") + 1)
    huge = b",\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0\0;"  # a frame of 65535 x 65535
    assert_decoded(image_bytes[:second] + huge, first)
    assert_decoded(image_bytes[:second], first)


def test_gif_frame_beside_the_corner_is_whole():
    image_bytes = encoded(photograph(mode="P"), "GIF")
    at = image_bytes.index(b",\0\0\0\0")
    moved = image_bytes[: at + 1] + struct.pack("<HH", 5, 3) + image_bytes[at + 5 :]
    assert_decoded(moved, by_pillow(image_bytes))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_carried_out(order, orientation):
    image_bytes = jpeg_with_exif(order, orientation)
    assert_decoded(image_bytes, by_pillow(image_bytes), tolerance=2)
    assert int(header_in_graph(image_bytes).orientation) == orientation


def test_pillow_own_exif_is_read():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description that lies behind the tags"
    image_bytes = encoded(photograph(), "JPEG", exif=exif)
    assert_decoded(image_bytes, by_pillow(image_bytes), tolerance=2)
    assert in_graph(image_bytes).shape == (34, 21, 3)


def test_malformed_exif_leaves_the_picture_as_it_is():
    good = jpeg_with_exif("<", 6)
    tiff = good.index(b"II*\0")
    changes = {
        "orientation 0": jpeg_with_exif("<", 0),
        "orientation 9": jpeg_with_exif(">", 9),
        "a rational": jpeg_with_exif("<", 6, kind=5),
        "neither byte order": good[:tiff] + b"XX" + good[tiff + 2 :],
        "tags far behind the end": good[:tiff + 4] + b"\xff\xff\xff\xff" + good[tiff + 8 :],
        "tags behind the segment": good[:tiff + 4] + b"\x60\0\0\0" + good[tiff + 8 :],
        "no tags": good[:tiff + 8] + b"\0\0" + good[tiff + 10 :],
    }  # fmt: skip
    for change, image_bytes in changes.items():
        assert int(header_in_graph(image_bytes).orientation) == 1, change
        assert in_graph(image_bytes).shape == (21, 34, 3), change
    more_tags_than_there_are = good[: tiff + 8] + b"\xff\xff" + good[tiff + 10 :]
    assert int(header_in_graph(more_tags_than_there_are).orientation) == 6


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\2\0\0\0"


@pytest.mark.parametrize(
    ("image_bytes", "status"),
    [
        (b"", EMPTY),
        (b"\0", NOT_AN_IMAGE),
        (b"<html>404</html>", NOT_AN_IMAGE),
        (b"RIFF\0\0\0\0WEBPVP8 ", NOT_AN_IMAGE),
        (b"\xff\xd8\xff", DAMAGED),
        (b"\x89PNG\r\n\x1a\n", DAMAGED),
        (b"GIF89a", DAMAGED),
        (b"BM", DAMAGED),
        (png_header(8000, 5000), OK),
        (png_header(8000, 5001), TOO_LARGE),
        (png_header(2**32 - 1, 2**32 - 1), TOO_LARGE),
        (png_header(0, 10), DAMAGED),
        (b"\xff\xd8\xff\xc2\0\x0b\x08" + struct.pack(">HH", 65000, 65000), TOO_LARGE),
        (b"GIF89a" + bytes(7) + b"," + struct.pack("<HHHH", 0, 0, 9000, 9000), TOO_LARGE),
        (b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 9000, -9000, 1, 24, 0), TOO_LARGE),
    ],
)
def test_status_comes_from_the_header(image_bytes, status):
    assert status_in_graph(image_bytes) == status


def test_picture_too_large_is_refused_before_it_is_decoded():
    bomb = png_header(13000, 13000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 40 megapixels"):
        in_graph(bomb)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 40 megapixels"):
        decode_image(bomb)


def test_pipeline_graph_and_single_operations_decode_alike():
    kinds = [jpeg_with_exif("<", 8), animation()[0]]
    kinds += [encoded(photograph(mode="P"), kind) for kind in ("PNG", "BMP")]
    pipeline = tf.data.Dataset.from_tensor_slices(kinds).map(decode_image)
    for image_bytes, image in zip(kinds, pipeline, strict=True):
        np.testing.assert_array_equal(image, in_graph(image_bytes))
        np.testing.assert_array_equal(image, decode_image(image_bytes))


def hostile_bytes():
    """Real pictures cut off and changed, noise behind real signatures, and lengths that lie."""
    rng = np.random.default_rng(0)
    pictures = [
        jpeg_with_exif("<", 6),
        jpeg_with_exif(">", 3),
        encoded(photograph(), "PNG"),
        animation()[0],
        encoded(photograph(), "BMP"),
    ]
    for picture in pictures:
        for cut in [*range(0, 64), *rng.integers(64, len(picture), 20)]:
            yield picture[:cut]
        for _ in range(60):
            changed = np.frombuffer(picture, np.uint8).copy()
            places = rng.integers(2, min(len(changed), 400), rng.integers(1, 6))
            changed[places] = rng.choice([0, 1, 0x7F, 0x80, 0xC0, 0xE1, 0xFF], len(places))
            yield changed.tobytes()
        for length in (0, 3, 50, 900):
            yield picture[:8] + rng.bytes(length)
    start = b"\xff\xd8\xff"
    for length in (b"\0\0", b"\0\1", b"\xff\xff"):
        yield start + b"\xe1" + length + rng.bytes(99)
    yield start + b"\xe1\0\x0aExif\0\0"  # a segment that ends where the tags should begin
    yield start * 100_000  # more padding than the walk has patience for
    yield start + b"\xd0\xff" * 100_000  # markers without end
    yield b"GIF89a" + bytes(7) + b"!\xf9" + b"\1a" * 100_000  # blocks without end


def test_no_bytes_make_the_header_fail_and_it_agrees_with_libjpeg():
    agreed = 0
    for image_bytes in hostile_bytes():
        header = header_in_graph(image_bytes)
        assert int(status_in_graph(image_bytes)) in range(5)
        assert 1 <= int(header.orientation) <= 8
        try:
            size = tf.image.extract_jpeg_shape(image_bytes).numpy()[:2].tolist()
        except tf.errors.InvalidArgumentError:
            continue
        assert [int(header.height), int(header.width)] == size
        agreed += 1
    assert agreed > 50


def test_damaged_picture_is_refused_when_it_is_decoded():
    whole = encoded(photograph(200, 200), "JPEG")
    gif = encoded(photograph(mode="P"), "GIF")
    for damaged in (whole[: len(whole) // 2], gif[:-20], png_header(20, 20)):
        assert status_in_graph(damaged) == OK
        with pytest.raises(tf.errors.InvalidArgumentError):
            in_graph(damaged)


def test_resize_squashes_and_leaves_a_fitting_picture_alone():
    image = np.asarray(photograph(20, 20))
    np.testing.assert_array_equal(resize_image(image, 20), image)
    wide = np.asarray(photograph(40, 90))
    by_pillow = Image.fromarray(wide).resize((20, 20), Image.Resampling.BILINEAR)
    resized = resize_image(wide, 20)
    assert resized.dtype == tf.float32 and resized.shape == (20, 20, 3)
    assert np.abs(resized.numpy() - np.asarray(by_pillow)).max() < 1.01  # Pillow rounds, twice


@pytest.mark.parametrize("kind", [tf.uint8, tf.float32])
@pytest.mark.parametrize("size", [(20, 30), (64, 20), (24, 60), (97, 101), (1, 1)])
def test_resizing_one_axis_after_the_other_gives_the_numbers_of_tensorflow(kind, size):
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3))
    images = tf.cast(images, kind)
    resized = resize_images(images, size)
    np.testing.assert_array_equal(resized, tf.image.resize(images, size, antialias=True))


@pytest.fixture
def folder(tmp_path):
    """Six files: pictures at 0, 2 and 5, no pictures at the others."""
    contents = [
        encoded(photograph(), "JPEG"),
        b"",
        encoded(photograph(30, 10), "PNG"),
        b"plain text",
        encoded(photograph(90, 90), "JPEG")[:700],
        encoded(photograph(8, 8), "BMP"),
    ]
    paths = [tmp_path / f"pïcture {number}" for number in range(6)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [*paths, tmp_path / "none.jpg", tmp_path]


def test_unreadable_pictures_are_left_out_and_the_others_stay_in_order(folder):
    dataset = read_images(folder, 16)
    assert dataset.element_spec[1] == tf.TensorSpec((16, 16, 3), tf.float32)
    rows = list(dataset.as_numpy_iterator())
    assert [int(index) for index, _ in rows] == [0, 2, 5]
    for index, image in rows:
        expected = resize_image(by_pillow(folder[index].read_bytes()), 16)
        np.testing.assert_allclose(image, expected, atol=2)


def test_no_paths_give_no_images():
    assert list(read_images([], 16)) == []


def test_explain_says_what_is_wrong(folder, tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_header(13000, 12000))
    reasons = [explain(path) for path in [*folder, tmp_path / "bomb.png"]]
    assert [reasons[0], reasons[2], reasons[5]] == [None, None, None]
    assert reasons[1].startswith("empty")
    assert reasons[3].startswith("not an image")
    assert reasons[4].startswith("damaged")
    assert reasons[6].startswith("missing")
    assert reasons[7].startswith("unreadable")
    assert reasons[8].startswith("too large") and "13000 x 12000" in reasons[8]


def test_decoding_inside_a_saved_model_uses_core_operations_only(tmp_path):
    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
        def __call__(self, image_bytes):
            """Decodes a batch; a bad row spoils only itself."""
            rows = tf.range(tf.size(image_bytes))
            dataset = tf.data.Dataset.from_tensor_slices((rows, image_bytes))
            dataset = dataset.map(lambda row, one: (row, resize_image(decode_image(one), 16)))
            dataset = dataset.ignore_errors().batch(1000)  # more than a batch has
            row, image = dataset.get_single_element()
            return tf.scatter_nd(row[:, None], image, (tf.size(image_bytes), 16, 16, 3))

    tf.saved_model.save(Reader(), str(tmp_path / "model"))
    good = encoded(photograph(), "JPEG")
    batch = tf.constant([good, b"", png_header(13000, 13000), animation()[0], good[:300]])
    images = tf.saved_model.load(str(tmp_path / "model"))(batch).numpy()
    np.testing.assert_allclose(images[0], resize_image(in_graph(good), 16), atol=1e-3)
    assert [bool(image.any()) for image in images] == [True, False, False, True, False]

    proto = SavedModel.FromString((tmp_path / "model" / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    functions = [node.op for function in graph.library.function for node in function.node_def]
    operations = {node.op for node in graph.node} | set(functions)
    operations -= {function.signature.name for function in graph.library.function}
    new = operations - set(CORE.split())
    assert not new, f"are these in the stock server's build? {new}"
