"""Measurements, run by hand; threads wait as they do in the plugin."""

import gadget  # noqa: F401  (before torch, which reads how)
