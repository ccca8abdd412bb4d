"""DICOM: classic and enhanced MR images."""
