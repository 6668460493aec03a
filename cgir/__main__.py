"""`python -m cgir` and the console script `cgir`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
