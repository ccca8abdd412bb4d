"""Measurements, run by hand; threads wait and memory is kept as in the plugin."""

from gadget.compute.process import prepare_process

prepare_process()
