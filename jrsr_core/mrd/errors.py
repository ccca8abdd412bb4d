"""The two ways a scan can disappoint us; each carries one line for the user."""


class BadScan(ValueError):
    """The input is broken: not the format it claims to be, cut off, or with impossible numbers."""


class UnsupportedScan(ValueError):
    """The input is sound, but of a kind that is declined."""
