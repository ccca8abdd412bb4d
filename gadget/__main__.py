"""`python -m gadget` is the `jrsr` command."""

from gadget.cli.main import main

main()
