"""Objectives that are for actions alone, each with its sampler."""

from isd_policy.objectives.ddpm import DDPM, DiffusionSampler
from isd_policy.objectives.mip import MIP, MIPSampler
from isd_policy.objectives.regression import Regression, RegressionSampler

__all__ = ["DDPM", "MIP", "DiffusionSampler", "MIPSampler", "Regression", "RegressionSampler"]
