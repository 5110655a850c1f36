"""Push-T over the package gym-pusht (extra `pusht`): a disc pushes a T-shaped block on its place in the plane.

Chi et al., Diffusion Policy (arXiv 2303.04137). Lengths are pixels of a 512 x 512 world, angles radians.
"""
