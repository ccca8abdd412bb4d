"""Writers of the output formats."""
