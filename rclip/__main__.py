"""`python -m rclip`.

Where that is run, Python looks for `rclip` itself in the current folder first, so among photos of others `python -P -m
rclip`, or the command `rclip`, is the one to use. What comes after is not looked for there.
"""

from rclip import isolation

isolation.leave_current_folder()

from rclip.cli.main import run  # noqa: E402 - what it imports must not be looked for in the current folder

if __name__ == "__main__":
    run()
