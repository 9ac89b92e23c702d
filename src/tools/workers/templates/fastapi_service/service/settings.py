"""The settings: from the command line first, then from the environment."""

from typing import Literal, get_args

import sqlalchemy as sa
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "{{ package | upper }}_"
DEFAULT_DATABASE_URL = "sqlite:///{{ plural }}.db"

LogLevel = Literal["critical", "error", "warning", "info", "debug"]
LOG_LEVELS: tuple[str, ...] = get_args(LogLevel)


class Settings(BaseSettings):
    """How the service runs. Each field is also an environment variable, with `ENV_PREFIX` before its name."""

    # Errors must not show the input: a database URL may hold a password.
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, hide_input_in_errors=True)

    database_url: str = Field(default=DEFAULT_DATABASE_URL, repr=False)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: LogLevel = "info"
    max_body_bytes: int = Field(default=64 * 1024, ge=1)

    @field_validator("database_url")
    @classmethod
    def _is_a_known_database(cls, value: str) -> str:
        try:
            backend = sa.make_url(value).get_backend_name()
        except (sa.exc.ArgumentError, ValueError):
            raise ValueError("must be a URL such as sqlite:///file.db") from None
        if backend not in {"sqlite", "postgresql"}:
            raise ValueError("must begin with sqlite:// or postgresql+psycopg://")
        return value
