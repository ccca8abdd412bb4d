"""The plugin: ISMRMRD data in, high-resolution images out, at the desk and at the scanner."""

import os

# Read when torch is loaded. Threads that spin while they wait make a machine that computes other
# things as well several times slower, themselves included.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
