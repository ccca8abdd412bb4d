"""The plan of a scan: which lines make which image, decided from the headers."""
