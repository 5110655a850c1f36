"""A loop's settings are checked."""

import pytest

from isd_core.support.errors import InputError
from isd_policy.deploy.loop.settings import LoopSettings


@pytest.mark.parametrize(
    "field, value",
    [
        ("mode", "fast"),
        ("rate", 0),
        ("hold", -1),
        ("stale", float("inf")),
        ("patience", 1.0),
        ("blend", -1),
        ("lead", -1),
    ],
)
def test_settings_out_of_range_are_an_input_error(field, value):
    with pytest.raises(InputError, match=field):
        LoopSettings(**{field: value})
