"""A policy as one folder that needs nothing else: `python -m isd_policy.deploy.bundle`."""
