"""The experiments: each command writes a table (JSON, markdown) and figures (PNG), and goes on where it was cut off."""
