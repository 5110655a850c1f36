"""Few-step policies: demonstrations in, action chunks out.

`isd_policy.load(path)` opens a trained policy; it needs torch, NumPy and safetensors alone.
"""

from isd_policy.loading import load

__all__ = ["load"]
