"""The checkout's short name of `isd_envs`: `python -m envs.demos` runs `isd_envs.demos`.

The wheel has no package of this name, because a project's own folder `envs` would hide it.
"""

import isd_envs

__path__ = isd_envs.__path__
