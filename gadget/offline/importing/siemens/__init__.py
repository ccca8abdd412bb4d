"""Siemens raw data (TWIX) of VB, VD and VE; the layout and the protocol are those of twixtools.

Conventions of `siemens_to_ismrmrd`: slice normals, directions and counters are the scanner's.
"""
