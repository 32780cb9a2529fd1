"""What every error of ours that a person can act on derives from."""


class FaceFactorError(Exception):
    """Says what was wrong, what was seen and what to do, naming the file; needs no traceback."""
