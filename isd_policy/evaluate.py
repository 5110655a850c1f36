"""The command `python -m isd_policy.evaluate`. The function of that name is `isd_policy.evaluate`."""

import sys

from isd_policy.evaluation import evaluate, main

if __name__ == "__main__":
    main()
else:
    sys.modules[__name__] = evaluate  # type: ignore[assignment]  # importing this file leaves the function in its place
