"""Tells whether the time stamps of a scan count ticks of 2.5 ms (`TICK`).

ISMRMRD leaves the unit of time stamps to the vendor. Siemens counts ticks: from midnight for
acquisitions, from the last trigger for the physiology. Headers without a vendor are read the same
way, as Gadgetron and FIRE do. Stamps of other vendors are not used.
"""

from .labels import Labels


def vendor_of(labels: Labels) -> str:
    """Return the vendor of the system in upper case, empty if the header has none."""
    return labels.text("acquisitionSystemInformation/systemVendor").upper()


def has_ticks(labels: Labels) -> bool:
    """Return whether time stamps are in units of `TICK`."""
    vendor = vendor_of(labels)
    return not vendor or "SIEMENS" in vendor
