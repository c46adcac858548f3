"""`python -m rclip`."""

from rclip.cli import run

if __name__ == "__main__":
    run()
