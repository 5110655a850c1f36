"""What the configs of these tests name has to be registered."""

import isd_core.parametrisation  # noqa: F401
import isd_policy.objectives  # noqa: F401
