"""The settings and the command line."""

import runpy
import sys
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from {{ package }}.__main__ import main
from {{ package }}.settings import ENV_PREFIX, Settings

PACKAGE = "{{ package }}"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the server was started with; it is not started."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: calls.append({"app": app, **options}))
    return calls


def test_defaults() -> None:
    settings = Settings()
    assert settings.database_url == "sqlite:///{{ plural }}.db"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}DATABASE_URL", "postgresql+psycopg://user@db/name")
    monkeypatch.setenv(f"{ENV_PREFIX}PORT", "9000")
    settings = Settings()
    assert (settings.database_url, settings.port) == ("postgresql+psycopg://user@db/name", 9000)


@pytest.mark.parametrize("url", ["", "file.db", "mysql://user:secret@db/name", "postgresql://u:secret@db:port/name"])
def test_other_databases_are_refused_and_passwords_not_told(url: str) -> None:
    with pytest.raises(ValidationError, match="must be") as caught:
        Settings(database_url=url)
    assert "secret" not in str(caught.value)


def test_a_password_does_not_show() -> None:
    assert "secret" not in repr(Settings(database_url="postgresql+psycopg://user:secret@db/name"))


@pytest.mark.parametrize("values", [{"port": 65536}, {"port": -1}, {"log_level": "loud"}, {"max_body_bytes": 0}])
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**values)


def test_options_go_before_the_environment(monkeypatch: pytest.MonkeyPatch, served: list[dict[str, Any]]) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}PORT", "9000")
    monkeypatch.setenv(f"{ENV_PREFIX}HOST", "0.0.0.0")  # noqa: S104
    assert main(["--port", "9001", "--database-url", "sqlite://", "--log-level", "warning"]) == 0
    [call] = served
    assert (call["host"], call["port"], call["log_level"]) == ("0.0.0.0", 9001, "warning")  # noqa: S104
    assert isinstance(call["app"], FastAPI)
    call["app"].state.engine.dispose()


def test_the_module_runs(monkeypatch: pytest.MonkeyPatch, served: list[dict[str, Any]]) -> None:
    monkeypatch.setattr("sys.argv", ["service", "--database-url", "sqlite://"])
    monkeypatch.delitem(sys.modules, f"{PACKAGE}.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(PACKAGE, run_name="__main__")
    assert (ended.value.code, len(served)) == (0, 1)


@pytest.mark.parametrize("option", ["--port=70000", "--database-url=mysql://u:secret@db/n", "--log-level=loud"])
def test_bad_options_are_told(
    option: str,
    served: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([option])
    assert (ended.value.code, served) == (2, [])
    told = capsys.readouterr().err
    assert option.partition("=")[0].strip("-") in told.replace("_", "-")
    assert "secret" not in told
