"""What the samples of a scan say where its headers are silent or wrong."""
