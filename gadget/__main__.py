"""`python -m gadget` is the `jrsr` command."""

from .cli import main

main()
