"""A policy's sampler as graphs that need none of its code: `python -m isd_policy.deploy.export`."""
