"""Flow maps, their objectives, and the training machinery that actions and images share.

Nothing here knows a robot, an image or the rank of a tensor.
"""
