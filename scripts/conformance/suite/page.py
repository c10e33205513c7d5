"""The page of results: a row a requirement, a column a target."""


def write(out, copy=None):
    """To be written."""
