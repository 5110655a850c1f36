"""Images: data, codecs, class-conditional transformers, training, sampling and evaluation on the shared core.

    run = isd_image.train("digits", guidance=isd_image.pre(2.0), steps=1200)
    images = run.sample(labels=[3, 7], nfe=1)
    numbers = run.evaluate(nfe=[1, 2])

Every choice of configs/guidance is a function here (`pre`, `post`, `interval`, `none`) that makes a preset. Names are
imported when they are first used.
"""

from typing import TYPE_CHECKING, Any

from isd_core.support import lazy

if TYPE_CHECKING:
    from isd_core.presets import Preset as Preset
    from isd_core.presets import preset as preset
    from isd_core.support.errors import InputError as InputError
    from isd_image.codecs import Codec as Codec
    from isd_image.data import ImageData as ImageData
    from isd_image.data import ImageSource as ImageSource
    from isd_image.metrics.extractors import Extractor as Extractor
    from isd_image.roles import register as register
    from isd_image.training import Run as Run
    from isd_image.training import load as load
    from isd_image.training import train as train


def _preset(name: str) -> Any:
    """The function that makes presets of a choice of configs/guidance."""
    if not (lazy.CONFIGS / "guidance" / f"{name}.yaml").is_file():
        raise AttributeError(f"module 'isd_image' has no attribute {name!r}")
    from isd_core.presets import preset

    return preset("guidance", name)


__getattr__, __dir__, __all__ = lazy.exports(__name__, _preset)
