"""Refuses groups of an HDF5 file with members in other files.

The sandboxed subprocess may read what its user may read. A link or data set that leads out of the
file would put the contents of another file into the images, within all limits of the subprocess.
"""

import h5py

from jrsr_core.mrd.errors import BadScan


def check_group(group: h5py.Group) -> None:
    """Raise `BadScan` where a member of a group leads out of the file."""
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise BadScan(f"'{name}' in {group.name} is a {type(link).__name__}, only data is read")
        member = group[name]
        if isinstance(member, h5py.Dataset) and (member.is_virtual or member.external):
            raise BadScan(f"'{name}' in {group.name} lies in other files, which are not read")
