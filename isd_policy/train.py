"""The command `python -m isd_policy.train`. The function of that name is `isd_policy.train`."""

import sys

if __name__ == "__main__":
    from isd_policy.commands import train as command

    command()
else:
    from isd_policy.training import train

    sys.modules[__name__] = train  # type: ignore[assignment]  # importing this file leaves the function in its place
