"""The `jrsr` command line."""
