"""The tiny policy of the tests of policies."""

from tests.policy.conftest import config, normaliser, observations, policy

__all__ = ["config", "normaliser", "observations", "policy"]
