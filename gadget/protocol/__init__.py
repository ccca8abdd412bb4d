"""Gadgetron's messages over a socket, with limits and without the defects of its Python client."""
