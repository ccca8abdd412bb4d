"""The resident server and its client."""
