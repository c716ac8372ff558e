"""A video as a stream of shots, the parts between cuts, in memory that does not grow with it.

PySceneDetect finds the cuts in the frames that `zoo.data.videos.reading` reads, so that every file
is decoded once, and by one reader.
"""

import collections

from zoo.data.videos.packages import cv2
from zoo.data.videos.reading import frame_times, read_frames
from zoo.data.videos.segments import video_end

try:
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector
except ImportError as error:
    raise ImportError(
        f'{error}. Finding shots needs PySceneDetect: pip install "lrcn-zoo[video]"'
    ) from error

LONGEST = 10.0  # seconds; a longer take is split
SHORTEST = 0.6  # seconds from one cut to the next; PySceneDetect's default, 15 frames of 25 fps
DETECTION_WIDTH = 256  # pixels; PySceneDetect shrinks frames to about this width, too
WINDOW = 2  # frames before and after a cut that the detector compares; its default


def stream_shots(path, samples_per_second, prepare, longest=LONGEST):
    """Reads a video once and yields some frames of each of its shots.

    A video without cuts is one shot. A shot of at least `1.5 * longest` is split into parts of
    `longest`; the last part lasts between 0.5 and 1.5 times as long.

    Args:
        path: Path of a video file, or of a folder of pictures.
        samples_per_second: Frames per second that are prepared. The first frame of each part
            always is.
        prepare: Function of a frame, uint8 RGB `(height, width, 3)`. Its result is kept until the
            part is complete.
        longest: Length of the parts of a long shot, in seconds.

    Yields:
        For each part `(start, end, prepared)`: seconds, and a list of at least one element.

    Raises:
        ValueError: If `samples_per_second` or `longest` is not above 0.
        zoo.data.videos.reading.VideoError: If the video cannot be read to its end: before the first
            shot if the file breaks off, otherwise after the shots before the damage.
    """
    if not (samples_per_second > 0 and longest > 0):
        raise ValueError(
            "Expected samples_per_second and longest above 0. "
            f"Received: samples_per_second={samples_per_second}, longest={longest}"
        )
    times = frame_times(path)
    marked_frames = mark_cuts(read_frames(path), frames_per_second(times))
    samples = []  # pairs of a time and a prepared frame, of the current part
    start = 0.0  # of the current part
    split = None  # where the current part ends if the shot lasts long enough

    for time, (frame, is_cut) in zip(times.round(6).tolist(), marked_frames, strict=False):
        if is_cut:
            yield start, time, [prepared for _, prepared in samples]
            samples, start, split = [], time, None

        # Split a long take once the remainder is known to be long enough.
        if split is not None and time >= split + longest / 2:
            yield start, split, [prepared for sampled, prepared in samples if sampled < split]
            samples = [(sampled, prepared) for sampled, prepared in samples if sampled >= split]
            start, split = split, None
        begins_split = split is None and time >= start + longest
        if begins_split:
            split = time

        # The half of a millisecond allows for rounded times.
        is_due = not samples or time >= samples[-1][0] + 1 / samples_per_second - 0.0005
        if is_due or begins_split:
            samples.append((time, prepare(frame)))
    yield start, video_end(times), [prepared for _, prepared in samples]


def mark_cuts(frames, rate):
    """Finds cuts in a stream of frames.

    Args:
        frames: Iterable of uint8 RGB `(height, width, 3)`.
        rate: Mean number of frames per second.

    Yields:
        `(frame, is_cut)` for each frame, `WINDOW` frames later than it was read: `is_cut` is True
        if a shot begins with the frame. It is False for the first frame of the video.
    """
    detector = AdaptiveDetector(window_width=WINDOW, min_scene_len=SHORTEST)
    waiting = collections.deque()  # frames of which the detector has not decided yet
    for index, frame in enumerate(frames):
        waiting.append(frame)
        timecode = FrameTimecode(index, fps=rate)
        cuts = detector.process_frame(timecode, _shrink_to_bgr(frame))
        if len(waiting) > WINDOW:
            is_cut = index - WINDOW in [cut.frame_num for cut in cuts]
            yield waiting.popleft(), is_cut
    for frame in waiting:
        yield frame, False


def frames_per_second(times):
    """Returns the mean rate of frames that are shown at `times`, float64 `(num_frames,)`."""
    if len(times) < 2 or times[-1] <= times[0]:
        return 1.0
    return float((len(times) - 1) / (times[-1] - times[0]))


def _shrink_to_bgr(frame):
    """Shrinks a frame to the width at which PySceneDetect's thresholds were chosen."""
    height, width = frame.shape[:2]
    if width > DETECTION_WIDTH:
        size = (DETECTION_WIDTH, max(round(height * DETECTION_WIDTH / width), 1))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
