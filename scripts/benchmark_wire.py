"""The command of scripts/benchmarks/wire.py."""

import sys
from pathlib import Path

if not __package__:  # run as a file: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from scripts.benchmarks.wire import main

if __name__ == "__main__":
    sys.exit(main())
