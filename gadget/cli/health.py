"""The command `jrsr health`."""

from gadget.console import print_json, print_line
from gadget.errors import Exit

from .options import AsJson, Host, Port, app


@app.command()
def health(host: Host = "127.0.0.1", port: Port = 18000, as_json: AsJson = False) -> int:
    """Print the server's status and the scans that are going on.

    Exit code: 0 it answers, 1 it does not, or is no jrsr server.
    """
    from gadget.server.ask import ask_health
    from gadget.server.health import health_line, scan_line

    report = ask_health(host, port)
    if as_json:
        print_json(report)
        return Exit.DONE
    print_line(health_line(report))
    for scan in report["scans"]:
        print_line(f"  {scan_line(scan)}")
    return Exit.DONE
