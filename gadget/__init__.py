"""The plugin: ISMRMRD data in, high-resolution images out, at the desk and at the scanner."""
