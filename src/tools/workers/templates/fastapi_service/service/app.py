"""The application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import orm

from . import __version__, api, database, errors
from .middleware import BodyLimit
from .settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; without settings, from the environment."""
    settings = settings or Settings()
    engine = database.open_engine(settings.database_url)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        engine.dispose()

    app = FastAPI(title="{{ name }} service", version=__version__, lifespan=lifespan)
    app.state.engine = engine
    app.state.sessions = orm.sessionmaker(engine, expire_on_commit=False)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.include_router(api.router)
    errors.install(app)
    return app
