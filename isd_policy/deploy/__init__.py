"""From a trained policy to a robot: bundles, exported samplers, the control loop, the server and its client.

A step of the way is a module: `bundle` and `export` write files, `runner` drives a robot, `serve` answers clients.
"""
