"""The wire: Gadgetron's messages over a socket, read with limits and without its client's defects."""
