"""`python -m gaussum` is the command `gaussum`."""

import sys

from gaussum.cli import main

if __name__ == "__main__":
    sys.exit(main())
