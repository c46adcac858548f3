"""`python -m rclip`."""

import sys

from rclip.cli import main

if __name__ == "__main__":
    sys.exit(main())
