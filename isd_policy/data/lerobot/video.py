"""Frames of MP4 files by PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.errors import InputError

RATE_TOLERANCE = 1e-3
"""Relative difference of a video's frame rate from the data set's that is rounding."""
KEYFRAME_EVERY = 2
"""Frames from one that stands alone to the next: a window costs little decoding, as in LeRobot's own files."""
CODECS = {"h264": "libx264", "av1": "libsvtav1"}


def av() -> Any:
    """PyAV; `InputError` without it."""
    try:
        import av as module
    except ImportError as error:
        raise InputError(f"Videos need the package av ({error}): pip install 'isd-flow[lerobot-data]'.") from error
    return module


@contextmanager
def _opened(path: Path, fps: float) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream, of `fps` frames a second."""
    module = av()
    if not path.is_file():
        raise InputError(f"{path} is missing, a video of the data set. Copy the data set again.")
    try:
        with module.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path} holds no video, or one of a codec that PyAV {module.__version__} lacks.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise InputError(
                    f"{path}: PyAV {module.__version__} has no decoder for its codec. Encode the video again as h264 "
                    "or AV1, or install a build of PyAV that has the decoder."
                )
            rate = float(stream.average_rate or 0)
            if abs(rate - fps) > RATE_TOLERANCE * fps:
                raise InputError(
                    f"{path} has {rate:g} frames a second, and meta/info.json says fps={fps:g}. Encode the video or "
                    "the data set at one rate."
                )
            stream.thread_type = "AUTO"
            yield container, stream
    except (module.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be decoded ({' '.join(str(error).split())}). Copy it again.") from error


def read_frames(path: Path, fps: float, first: int, count: int) -> np.ndarray:
    """Frames [first, first + count) of a video of `fps` frames a second, [count, H, W, 3] bytes.

    Raises `InputError` where the file is missing or damaged, has another rate or no decoder, or ends before.
    """
    frames: dict[int, np.ndarray] = {}
    with _opened(path, fps) as (container, stream):
        if first:
            container.seek(int(first / fps / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            number = round(float(frame.pts * stream.time_base) * fps)
            if first <= number < first + count:
                frames[number] = frame.to_ndarray(format="rgb24")
            if number >= first + count - 1:
                break
    if absent := [number for number in range(first, first + count) if number not in frames]:
        raise InputError(
            f"{path} has no frame {absent[0]} (at {absent[0] / fps:.3f} s); frames {first} to {first + count - 1} are "
            "wanted of it. The video is incomplete: copy the data set again."
        )
    return np.stack([frames[number] for number in range(first, first + count)])


def decoded(data: bytes, where: str) -> np.ndarray:
    """A picture of a file in memory (PNG, JPEG), [H, W, 3] bytes. where: its place, for messages."""
    module = av()
    try:
        with module.open(io.BytesIO(data)) as container:
            picture: np.ndarray = next(container.decode(video=0)).to_ndarray(format="rgb24")
            return picture
    except (module.error.FFmpegError, StopIteration, IndexError, ValueError) as error:
        raise InputError(f"{where} is no picture that can be decoded ({error}).") from error


def encoded(picture: np.ndarray) -> bytes:
    """A picture [H, W, 3] as PNG."""
    module = av()
    codec = module.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = picture.shape[1], picture.shape[0], "rgb24"
    codec.time_base = Fraction(1, 1)
    packets = [*codec.encode(module.VideoFrame.from_ndarray(picture, format="rgb24")), *codec.encode(None)]
    return b"".join(map(bytes, packets))


class VideoWriter:
    """Writes one MP4 of pictures [H, W, 3]."""

    def __init__(self, path: Path, fps: float, height: int, width: int, codec: str) -> None:
        if codec not in CODECS:
            raise InputError(f"codec={codec}: expected one of {', '.join(CODECS)}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._av = av()
        self._container = self._av.open(str(path), "w")
        options = {"g": str(KEYFRAME_EVERY), "crf": "18" if codec == "h264" else "30"}
        rate = Fraction(fps).limit_denominator(10_000)
        stream: Any = self._container.add_stream(CODECS[codec], rate=rate)
        stream.width, stream.height, stream.options = width, height, options
        stream.pix_fmt = "yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p"
        self._stream, self._period, self._frames = stream, 1 / rate, 0

    def write(self, picture: np.ndarray) -> None:
        """Adds one picture."""
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = self._frames, self._period
        self._container.mux(self._stream.encode(frame))
        self._frames += 1

    def close(self) -> None:
        """Ends the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
