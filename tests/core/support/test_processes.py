"""Children that end with their parent."""

import os
import sys

import pytest

from isd_core.support.processes import end_with_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal is Linux's")


@pytest.mark.parametrize("there, code", [(True, 0), (False, 1)])
def test_a_child_whose_parent_is_gone_already_ends_at_once(there, code):
    parent = os.getpid()
    if (child := os.fork()) == 0:
        end_with_parent(parent if there else parent + 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
