"""LeRobot's names of what a policy sees: `observation.state` is `state` here, `observation.images.top` is `top`."""

from __future__ import annotations

from isd_policy.observations import ObservationSchema

ACTION = "action"
STATE = "state"
PREFIXES = ("observation.images.", "observation.")


def key_of(feature: str) -> str | None:
    """The policy's key of an observed feature; None for what is no observation."""
    prefix = next((prefix for prefix in PREFIXES if feature.startswith(prefix)), None)
    return None if prefix is None else feature.removeprefix(prefix).replace(".", "_")


def features_of(schema: ObservationSchema) -> dict[str, tuple[str, ...]]:
    """Feature -> the policy's keys that it is, joined in this order.

    Numbers are features of their own; where none of them is `state`, all together are `observation.state`, which
    LeRobot's policies look for.
    """
    joined = bool(schema.numbers) and STATE not in schema.numbers
    numbers = [(STATE, schema.numbers)] if joined else [(key, (key,)) for key in schema.numbers]
    features = {f"observation.{name}": keys for name, keys in numbers}
    return features | {f"observation.images.{key}": (key,) for key in schema.pictures}
