"""The command `python -m isd_policy.train`. The function of that name is `isd_policy.train`."""

import sys

from isd_policy.training import main, train

if __name__ == "__main__":
    main()
else:
    sys.modules[__name__] = train  # type: ignore[assignment]  # importing this file leaves the function in its place
