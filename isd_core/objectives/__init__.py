"""Training objectives: each is a frozen dataclass, called with (net, x, cond, rng, step)."""
