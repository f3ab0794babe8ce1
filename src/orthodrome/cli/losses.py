"""``orthodrome losses``."""


def losses() -> None:
    """Print the table of losses."""
    print("x")
