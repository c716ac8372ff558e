"""What a converted LRCN computes of a video whose numbers the authors noted, layer by layer."""

import pathlib

from zoo.convert.caffe.fingerprints import ACTIVATIONS, FIRST, OF_16_FRAMES


def check_layers(recognizer, path):
    """Computes the numbers that the authors noted of a video, to lay them side by side.

    Args:
        recognizer: `zoo.LRCNActivityRecognizer` out of `RGB_lstm_model_iter_30000.caffemodel`.
        path: That video, or the folder of its frames; its name says which of theirs it is.

    Returns:
        List of `(name, theirs, ours)`.

    Raises:
        ValueError: If the authors noted nothing of this video, or the CNN is another.
        zoo.data.videos.reading.VideoError: If the video cannot be read.
    """
    import itertools

    import keras
    import numpy as np

    from zoo.convert.caffe.convert import FRAMES
    from zoo.data.videos.clips import resize_frames, view_frames
    from zoo.data.videos.reading import read_frames

    video, encoder = find_video(path), recognizer.frame_encoder
    if encoder.name != "caffenet_hybrid" or encoder.layers[-1].name != "fc6":
        raise ValueError(
            "The authors noted layers of the LRCN on fc6 of the hybrid, not of others."
        )
    frames = itertools.islice(read_frames(path, FRAMES["rate"]), FRAMES["clip_length"])
    frames = resize_frames(np.stack(list(frames)), FRAMES["size"])
    squares = view_frames(frames, encoder.input_shape[1], ["center"])[0]
    theirs = ACTIVATIONS[video]
    names = [name for name in theirs if name != FIRST]
    layers = [encoder.get_layer("preprocess" if n == "data" else n).output for n in names]
    *_, features = layers = keras.Model(encoder.input, layers)(squares)
    ours = [float(np.mean(frames[0])), *(float(keras.ops.max(layer[0])) for layer in layers)]
    rows = list(zip(theirs, theirs.values(), ours, strict=True))
    if video in OF_16_FRAMES:
        states = recognizer.lstm(features[None])
        logits = recognizer.get_layer("logits")(states)
        ours = [f(x) for x in (states, logits) for f in (keras.ops.min, keras.ops.max)]
        ours = map(float, [*ours, keras.ops.max(keras.ops.softmax(logits))])
        theirs = OF_16_FRAMES[video]
        rows += zip(theirs, theirs.values(), ours, strict=True)
    return rows


def find_video(path):
    """Gives the name by which the authors noted a video.

    Raises:
        ValueError: If they did not.
    """
    video = pathlib.Path(path).stem
    if video not in ACTIVATIONS:
        raise ValueError(
            f"{path}: the authors noted layers of {' and '.join(ACTIVATIONS)}, and a video is "
            "known by its name."
        )
    return video
