"""The command `python -m isd_image.train`. The function of that name is `isd_image.train`."""

import sys

from isd_image.training import main, train

if __name__ == "__main__":
    main()
else:
    sys.modules[__name__] = train  # type: ignore[assignment]  # importing this file leaves the function in its place
