"""Where images come from. A source has `split(name)`, which gives an `ImageData`."""

from isd_image.data.arrays import ImageData, ImageSource, LabelledImages
from isd_image.data.cached import Cache
from isd_image.data.cifar import TorchvisionCIFAR10
from isd_image.data.digits import Digits
from isd_image.data.folder import Folder

__all__ = ["Cache", "Digits", "Folder", "ImageData", "ImageSource", "LabelledImages", "TorchvisionCIFAR10"]
