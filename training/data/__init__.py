"""Training scans: sources, manifests, simulation, batches."""
