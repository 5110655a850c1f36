"""A policy for clients on a network: `python -m isd_policy.deploy.serve`."""
