"""The command line: opens the database and serves until it is interrupted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from wsgiref.simple_server import make_server

from {{ package }}.api import Application
from {{ package }}.storage import {{ name }}Repository, open_database


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit code."""
    parser = argparse.ArgumentParser(prog="{{ package }}", description="Serve {{ human_plural }} over HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--database", default="{{ plural }}.db", help="SQLite file, or :memory:")
    options = parser.parse_args(argv)

    connection = open_database(options.database)
    try:
        with make_server(options.host, options.port, Application({{ name }}Repository(connection))) as server:
            print(f"Serving on http://{options.host}:{server.server_port}/{{ plural }}")
            server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        connection.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
