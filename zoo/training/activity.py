"""What an activity recogniser says of whole videos."""

import numpy as np

from zoo.data.videos.clips import clip_frames, clip_starts, spread_frames
from zoo.data.videos.reading import VideoError
from zoo.data.videos.sampled_frames import center_squares
from zoo.evaluation.activity import average_clips
from zoo.models.feature_statistics import NUM_FRAMES, FeatureStatistics

MAX_VIDEOS = 1000  # of a split, whose sampled frames are encoded
CLIPS_AT_ONCE = 256  # of features, and those of one more video; bounds the memory


def classify_videos(recognizer, features, clip_length, stride):
    """Names the activity in videos as the paper does: the mean over all frames of all clips.

    Args:
        recognizer: `zoo.LRCNActivityRecognizer`.
        features: List of the videos' features, from
            `zoo.data.features.frame_features.encode_videos`; the mean is taken over its views as
            well.
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


def fit_feature_statistics(recognizer, source, frame_size, seed=0):
    """Computes the statistics that tell which videos are unlike those of the training.

    Args:
        recognizer: `zoo.LRCNActivityRecognizer` with a frame encoder.
        source: Training videos as RGB frames, also for a model of optical flow: flow tells little
            of what a video shows. Of more than 1,000 videos, 1,000 are drawn.
        frame_size: Height and width in pixels to which frames are brought first.
        seed: Of the draw.

    Returns:
        `zoo.models.feature_statistics.FeatureStatistics`.

    Raises:
        ValueError: If there are too few videos.
    """
    features = sample_features(recognizer, source, frame_size, seed)
    groups = [source.groups[row] or None for row in features]
    return FeatureStatistics.fit(list(features.values()), groups, NUM_FRAMES)


def count_unlike(recognizer, source, frame_size, seed=0):
    """Counts the videos that a recognizer marks as unlike those of the training.

    Args:
        recognizer: `zoo.LRCNActivityRecognizer` with `feature_statistics`.
        source, frame_size, seed: As for `fit_feature_statistics`.

    Returns:
        Two ints: how many videos are marked, and how many were compared.
    """
    features = sample_features(recognizer, source, frame_size, seed)
    distances = [recognizer.feature_statistics.compare(video) for video in features.values()]
    return sum(distance.is_unlike for distance in distances), len(distances)


def sample_features(recognizer, source, frame_size, seed=0):
    """Encodes frames that are spread over the videos of a source.

    Args:
        recognizer, source, frame_size, seed: As for `fit_feature_statistics`.

    Returns:
        Dict from the row of a video to float32 `(frames, features)`, without damaged videos.
    """
    rows = np.arange(len(source.num_frames))
    if len(rows) > MAX_VIDEOS:
        rows = np.random.default_rng(seed).choice(rows, MAX_VIDEOS, replace=False)
    size = recognizer.frame_encoder.input_shape[1]
    features = {}
    for row in np.sort(rows).tolist():
        indices = spread_frames(source.num_frames[row], NUM_FRAMES)
        try:
            frames = source.read(row, indices)
        except VideoError:
            continue
        squares = center_squares(frames, frame_size, size)  # (frames, size, size, 3)
        features[row] = recognizer.encode_frames(squares)
    return features
