"""Objectives that are for actions alone, each with its sampler."""
