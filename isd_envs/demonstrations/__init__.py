"""Demonstrations: recorded by experts, and read from files."""
