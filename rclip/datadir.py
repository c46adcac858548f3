"""The folder in which rclip keeps indexes and weights, for the user alone."""

import os


def default() -> str:
    """`RCLIP_DATADIR`, else the platform's folder for a user's data."""
    from_environment = os.environ.get("RCLIP_DATADIR")
    if from_environment:
        return from_environment
    import platformdirs

    return platformdirs.user_data_dir("rclip", appauthor=False)


def make_private(folder: str) -> None:
    """Makes the folder, and those above it that are missing, for the user alone. Raises OSError.

    `os.makedirs` would give its mode to the last one only.
    """
    if not os.path.isdir(folder):
        make_private(os.path.dirname(os.path.abspath(folder)))
        os.makedirs(folder, mode=0o700, exist_ok=True)
