"""Forward model of the scan and the solvers that invert it."""
