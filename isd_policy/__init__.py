"""Few-step policies: demonstrations in, action chunks out.

    demos = isd_policy.read("can.hdf5")
    policy = isd_policy.train(demos, objective="isd", network="unet1d_small", steps=1000, run_dir="runs/can")
    result = isd_policy.evaluate(policy, nfe=[1, 2], episodes=100, seed=7)
    policy.save("policy.isd")
    chunk = isd_policy.load("policy.isd").act(obs)

Names are imported when they are first used; `load` needs torch, NumPy and safetensors alone.
"""

from typing import TYPE_CHECKING

from isd_core.support import lazy

if TYPE_CHECKING:
    from isd_core.presets import Preset as Preset
    from isd_core.presets import preset as preset
    from isd_core.support.errors import InputError as InputError
    from isd_policy.actions import ActionRepresentation as ActionRepresentation
    from isd_policy.backend import PolicyBackend as PolicyBackend
    from isd_policy.data.demonstrations import Demonstrations as Demonstrations
    from isd_policy.data.reader import Reader as Reader
    from isd_policy.data.reader import ReadOptions as ReadOptions
    from isd_policy.encoder import ObservationEncoder as ObservationEncoder
    from isd_policy.evaluation import Evaluation as Evaluation
    from isd_policy.evaluation import evaluate as evaluate
    from isd_policy.horizons import Horizons as Horizons
    from isd_policy.loading import load as load
    from isd_policy.observations import ObservationSchema as ObservationSchema
    from isd_policy.policy import Policy as Policy
    from isd_policy.reading import read as read
    from isd_policy.roles import register as register
    from isd_policy.training import train as train

__getattr__, __dir__, __all__ = lazy.exports(__name__)
