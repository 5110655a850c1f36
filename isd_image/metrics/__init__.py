"""Distances between sets of images, over any feature extractor."""
