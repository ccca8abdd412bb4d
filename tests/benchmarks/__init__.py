"""Measurements, run by hand; threads wait and memory is kept as in the plugin."""

import gadget  # noqa: F401  (before torch, which reads how)
from gadget.compute.device import keep_freed_memory

keep_freed_memory()
