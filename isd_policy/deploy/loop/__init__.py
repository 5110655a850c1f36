"""The control loop: a robot driven by chunks at a fixed rate, and what happened on the way."""
