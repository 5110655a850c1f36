"""The command `python -m isd_image.train`. The function of that name is `isd_image.train`."""

import sys

if __name__ == "__main__":
    from isd_image.commands import train as command

    command()
else:
    from isd_image.training import train

    sys.modules[__name__] = train  # type: ignore[assignment]  # importing this file leaves the function in its place
