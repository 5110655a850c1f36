"""Pictures that a client sent as JPEG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import util
from typing import Any

import numpy as np

from isd_policy.deploy.client.wire import Jpeg, WireError


def reads_jpeg() -> bool:
    """Whether there is Pillow, which reads them."""
    return util.find_spec("PIL") is not None


def decoded(key: str, value: Any, shape: Sequence[int]) -> Any:
    """A picture [H, W, C] of bytes, or several stacked, where `value` holds JPEG; `value` itself otherwise.

    shape: what the schema says. The size that a file names is compared with it before anything of that size is made.
    """
    several = isinstance(value, list) and value and all(isinstance(one, Jpeg) for one in value)
    if not several and not isinstance(value, Jpeg):
        return value
    if not reads_jpeg():
        raise WireError(f"`{key}` is a JPEG, which this server cannot read: it needs Pillow.")
    if isinstance(value, Jpeg):
        return _picture(key, value, shape)
    return np.stack([_picture(key, one, shape) for one in value])


def _picture(key: str, jpeg: Jpeg, shape: Sequence[int]) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg.data), formats=["JPEG"]) as picture:
            found = [picture.height, picture.width, len(picture.getbands())]
            if found == list(shape):
                return np.asarray(picture)
    except Exception as error:  # a stranger's bytes: whatever reading them raises is told
        raise WireError(f"`{key}` is no JPEG that can be read: {type(error).__name__}: {error}.") from error
    raise WireError(f"`{key}` is a JPEG of shape {found}; the policy was trained with {list(shape)}.")
