"""The command line: reads the options and serves until it is interrupted."""

import argparse
from collections.abc import Sequence

import uvicorn
from pydantic import ValidationError

from .app import create_app
from .settings import ENV_PREFIX, LOG_LEVELS, Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m {{ package }}",
        description="Serve {{ human_plural }} over HTTP.",
        epilog=f"Without an option its environment variable counts: {ENV_PREFIX}HOST, {ENV_PREFIX}PORT and so on.",
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: 8000)")
    parser.add_argument("--database-url", help="such as sqlite:///file.db or postgresql+psycopg://user@host/name")
    parser.add_argument("--log-level", choices=LOG_LEVELS, help="how much the server tells (default: info)")
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        parser.error("; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors()))
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_level=settings.log_level)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
