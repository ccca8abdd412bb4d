"""The series of a scan: planes in space, sorted into stacks, collected until the last image."""
