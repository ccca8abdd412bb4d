"""The HTML report of a reconstructed scan."""
