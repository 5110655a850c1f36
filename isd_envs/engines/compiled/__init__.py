"""Control steps compiled with numba against libmujoco: n actions in one call, without the interpreter lock.

The design follows robosuite 1.5.2's operational-space controller line by line; `exact` repeats its order of operations
and is bit-equal, `fast` solves the same equations with its own arithmetic.
"""

from isd_envs.engines.simulator import robosuite

robosuite()
