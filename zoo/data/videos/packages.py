"""The packages of the extra "video": av (FFmpeg) reads files, cv2 (OpenCV) works on frames."""

try:
    import av
    import cv2
except ImportError as error:
    raise ImportError(
        f'{error}. Videos need more packages: pip install "lrcn-zoo[video]"'
    ) from error

__all__ = ["av", "cv2"]
