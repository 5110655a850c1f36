"""What a run is made of: the content of its data, and the codec that encoded it.

Both are recorded in the config of its checkpoints as `content`, so that a run is not resumed on other data, and is not
sampled from through other weights of the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isd_core.support.errors import InputError
from isd_core.training.checkpoint import Checkpoint
from isd_core.training.resume import CONTENT
from isd_image.codecs import Codec
from isd_image.codecs.base import PIXELS, identity
from isd_image.data import ImageData


def with_content(config: Mapping[str, Any], data: ImageData) -> dict[str, Any]:
    """`config` and the record of what `data` is."""
    return {**config, CONTENT: {"codec": dict(data.codec), "data": data.content()}}


def codec_of(saved: Checkpoint) -> dict[str, Any] | None:
    """The identity of the codec that a checkpoint's data was encoded by; None for one that does not say."""
    recorded = saved.config.get(CONTENT, {}).get("codec")
    return None if recorded is None else dict(recorded)


def check_codec(recorded: Mapping[str, Any], codec: Codec, where: str) -> None:
    """Raises `InputError` unless `codec` is the one whose identity was recorded in `where`; pixels are pixels."""
    found = identity(codec)
    if recorded["weights"] == found["weights"] == PIXELS:
        return
    for key in ("weights", "name", "channels", "factor"):
        if found[key] != recorded[key]:
            raise InputError(
                f"{where} was encoded by the codec `{recorded['name']}` with {key} {_short(recorded[key])}, but the "
                f"codec `{found['name']}` has {key} {_short(found[key])}. Choose the codec of the cache and, by "
                "codec.source (codec_source in sampling), the weights that made it."
            )


def _short(value: object) -> str:
    return str(value)[:12]
