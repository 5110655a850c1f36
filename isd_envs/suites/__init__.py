"""Tasks of other packages, registered under a suite's name (`adroit/door`); a package is imported when one is made."""

from isd_envs.suites import adroit, metaworld

DECLARING = (adroit, metaworld)
"""The modules whose import registers the tasks."""
