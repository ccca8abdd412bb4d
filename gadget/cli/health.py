"""The command `jrsr health`."""

from gadget.console import print_line
from gadget.errors import Exit

from .options import Host, Port, app


@app.command()
def health(host: Host = "127.0.0.1", port: Port = 18000) -> int:
    """Print the server's status; exit code 1 if it does not answer."""
    from gadget.server.client import ask_health

    print_line(ask_health(host, port))
    return Exit.DONE
