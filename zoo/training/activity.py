"""What an activity recogniser says of whole videos."""

import numpy as np

from zoo.data.clips import clip_frames, clip_starts
from zoo.evaluation.activity import average_clips

CLIPS_AT_ONCE = 256  # of features, and those of one more video; bounds the memory


def classify_videos(recognizer, features, clip_length, stride):
    """Names the activity in videos as the paper does: the mean over all frames of all clips.

    Args:
        recognizer: `zoo.ActivityRecognizer`.
        features: List of the videos' features, from `zoo.data.frame_features.encode_videos`; the
            mean is taken over its views as well.
        clip_length: Frames of a clip.
        stride: Frames between the beginnings of clips.

    Returns:
        float32 `(videos, num_classes)`, probabilities.

    Source:
        Donahue et al., 2015, section 4. https://arxiv.org/abs/1411.4389
    """
    videos = np.empty((len(features), recognizer.num_classes), "float32")
    waiting = []  # (video, its clips of features, which of their frames are there)

    def run():
        clips = np.concatenate([clips for _, clips, _ in waiting])
        probabilities = recognizer.classify(clips, batch_size=CLIPS_AT_ONCE)
        for video, clips, there in waiting:
            own, probabilities = np.split(probabilities, [len(clips)])
            videos[video] = average_clips(own, there)
        waiting.clear()

    for video, views in enumerate(features):
        num_frames = len(views[0])
        starts = clip_starts(num_frames, clip_length, stride)
        frames, there = zip(*(clip_frames(s, num_frames, clip_length) for s in starts), strict=True)
        clips = np.concatenate([vectors[np.stack(frames)] for vectors in views])
        waiting.append((video, clips, np.tile(np.stack(there), (len(views), 1))))
        if sum(len(clips) for _, clips, _ in waiting) >= CLIPS_AT_ONCE:
            run()
    if waiting:
        run()
    return videos


def feature_statistics(features):
    """Mean and variance of the features of all frames, video by video.

    Args:
        features: As for `classify_videos`; of each video the first view counts.

    Returns:
        Two float64 arrays `(features,)`.
    """
    count, total, squares = 0, 0.0, 0.0
    for views in features:
        vectors = np.asarray(views[0], "float64")
        count += len(vectors)
        total = total + vectors.sum(0)
        squares = squares + np.square(vectors).sum(0)
    mean = total / count
    return mean, np.maximum(squares / count - np.square(mean), 0)
