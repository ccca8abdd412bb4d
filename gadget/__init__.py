"""The plugin: ISMRMRD data in, high-resolution images out, at the desk and at the scanner."""

import os

# Read when torch is loaded. Threads that spin while they wait make a machine that computes other
# things as well several times slower, themselves included; threads that sleep at once lose a
# quarter of the time where nothing else is computed. A thousand rounds lie between. GNU's library
# keeps to them under ACTIVE only: else there are none as soon as two threads have computed, as in a
# server. The last is LLVM's, in milliseconds; without it ACTIVE would have no end there.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("KMP_BLOCKTIME", "1")
