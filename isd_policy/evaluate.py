"""The command `python -m isd_policy.evaluate`. The function of that name is `isd_policy.evaluate`."""

import sys

if __name__ == "__main__":
    from isd_policy.commands import evaluate as command

    command()
else:
    from isd_policy.evaluation import evaluate

    sys.modules[__name__] = evaluate  # type: ignore[assignment]  # importing this file leaves the function in its place
