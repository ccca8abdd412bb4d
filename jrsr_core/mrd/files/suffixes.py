"""Suffixes of the names of HDF5 files: scans, images and image stacks."""

HDF5_SUFFIXES = (".h5", ".hdf5", ".mrd", ".ismrmrd")
