"""The routes of the server, and its errors in one form."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import importlib.resources
import logging
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Annotated, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from jaxrec import __version__
from jaxrec.report.run_report import REPORT_FILE
from jaxrec.server import answers, bodies
from jaxrec.server.api_page import api_page
from jaxrec.server.errors import HANDLED, NotReadyError, problem
from jaxrec.server.guard import App, Guard
from jaxrec.server.limits import Limits
from jaxrec.server.metrics import Metrics
from jaxrec.server.models import Models
from jaxrec.server.recommending import PATH, Recommending
from jaxrec.text import quoted

log = logging.getLogger("jaxrec")
Value = TypeVar("Value")
Text = Annotated[str, Query(max_length=200)]
Count = Annotated[int, Query(ge=1, le=100)]


def make_app(
    models: Models, limits: Limits, metrics: Metrics, *, token: str | None = None, hosts: tuple[str, ...] | None = None
) -> App:
    """The server as an ASGI application, which compiles its models after it has started.

    Args:
      models: that answer; closed when the application ends.
      limits: bounds on requests.
      metrics: as given to the models.
      token: that requests must bear, or None.
      hosts: names by which the server may be called; None: any.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(_compile(models)), asyncio.create_task(_notice(models, limits.store_seconds))]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.to_thread(models.close)

    app = FastAPI(
        title="jaxrec",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # their scripts are loaded from elsewhere
        redoc_url=None,
        responses={"4XX": {"model": bodies.Problem}, "503": {"model": bodies.Problem}},
    )
    _add_posts(app, models, limits)
    _add_gets(app, models)
    _add_page(app, models, metrics)
    _add_description(app)
    for kind in HANDLED:
        app.add_exception_handler(kind, _problem)
    inner = Recommending(app, models, limits)  # pyright: ignore[reportArgumentType]
    return Guard(inner, limits=limits, metrics=metrics, token=token, hosts=hosts)


def _policy(page: str) -> dict[str, str]:
    """Headers by which only a page's own style and script run, whatever an item is called."""
    policy = ["default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'", "frame-ancestors 'none'"]
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        text = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in text]
        policy.append(" ".join([directive, *(f"'sha256-{digest}'" for digest in digests)]))
    return {"content-security-policy": "; ".join(policy), "referrer-policy": "no-referrer"}


async def _problem(_: Request, error: Exception) -> JSONResponse:
    return problem(error)


async def _compile(models: Models) -> None:
    for model in models.by_name.values():
        try:
            await asyncio.to_thread(model.compile)
        except Exception:
            log.exception("%s can't be compiled; requests to it are answered by 503", model.name)
            continue
        log.info("%s is ready: version %s", model.name, model.snapshot.version)


async def _notice(models: Models, seconds: float) -> None:
    """Takes in what other processes write to the runs' stores."""
    while True:
        await asyncio.sleep(seconds)
        for model in models.by_name.values():
            try:
                if await asyncio.to_thread(model.notice):
                    log.info("%s: another process has written to the store; it counts from now on", model.name)
            except Exception:
                log.exception("%s: what another process has written can't be read; the old state goes on", model.name)


def _add_posts(app: FastAPI, models: Models, limits: Limits) -> None:
    writes = asyncio.Semaphore(1)  # events queue here, not in the threads that other requests need
    shows = asyncio.Semaphore(1)

    async def written(call: Callable[[], Value]) -> Value:
        async with writes:
            return await asyncio.to_thread(call)

    @app.post(PATH)
    async def recommend(
        body: bodies.RecommendRequest | bodies.RecommendRequests,
    ) -> bodies.RecommendAnswer | bodies.RecommendAnswers:
        """The best k items for a user or a history; or for many, in `requests`."""
        raise RuntimeError("this is the description alone: Recommending answers before")

    @app.post("/v1/steps")
    async def steps(body: bodies.StepsRequest) -> bodies.StepsAnswer:
        """A beam search over ids step by step: which prefixes were kept, at what odds. One at a time."""
        async with shows:
            return await asyncio.to_thread(answers.steps, models, limits, body)

    @app.post("/v1/events")
    async def events(body: bodies.EventsRequest) -> bodies.EventsAnswer:
        """Adds events of known and new users and items; they are stored when the answer comes, and count from then."""
        return await written(functools.partial(answers.events, models, limits, body))

    @app.post("/v1/ask")
    async def ask(body: bodies.AskRequest) -> bodies.AskAnswer:
        """Ratings or texts of a run that was trained on reviews."""
        return await written(functools.partial(answers.ask, models, limits, body))

    @app.post("/v1/models/reload")
    async def reload(body: bodies.ReloadRequest) -> bodies.ModelName:
        """Reads a model's folder again; requests are answered by the old state until the new one is compiled."""
        model = models.choose(body.model)
        await written(model.reload)
        return answers.model_name(model, model.snapshot)


def _add_gets(app: FastAPI, models: Models) -> None:
    @app.get("/v1/items")
    def items(query: Text = "", limit: Count = 20, model: Text | None = None) -> bodies.ItemsAnswer:
        """Items whose title or name contains a text."""
        snapshot = models.choose(model).snapshot
        return bodies.ItemsAnswer(items=[answers.item(snapshot, n) for n in snapshot.search(query, limit)])

    @app.get("/v1/users")
    def users(query: Text = "", limit: Count = 20, model: Text | None = None) -> bodies.UsersAnswer:
        """Names of users that contain a text."""
        names, text = models.choose(model).snapshot.names.users, query.casefold()
        found = (name for name in names if text in name.casefold())
        return bodies.UsersAnswer(users=[name for name, _ in zip(found, range(limit), strict=False)])

    @app.get("/v1/users/{name:path}")
    def user(name: str, model: Text | None = None) -> bodies.UserAnswer:
        """A user's history and id."""
        try:
            return answers.user(models.choose(model, name), name)
        except ValueError as error:
            raise HTTPException(404, str(error)) from error

    @app.get("/v1/models")
    def served() -> bodies.ModelsAnswer:
        """What is served."""
        infos = [answers.model_info(model, models.shares[model.name]) for model in models.by_name.values()]
        return bodies.ModelsAnswer(models=infos)

    @app.get("/v1/report", response_class=FileResponse)
    def report(model: Text | None = None) -> FileResponse:
        """The report page of a model's run."""
        chosen = models.choose(model)
        file = chosen.folder / REPORT_FILE
        if not file.is_file():
            raise HTTPException(404, f"model {quoted(chosen.name)} has no report; jaxrec report writes it")
        return FileResponse(file, media_type="text/html")


def _add_page(app: FastAPI, models: Models, metrics: Metrics) -> None:
    page = importlib.resources.files("jaxrec.server").joinpath("page.html").read_text(encoding="utf-8")
    headers = _policy(page)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        """All models are compiled; 503 until then."""
        if not models.ready:
            raise NotReadyError
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response)
    async def counted() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_description(app: FastAPI) -> None:
    """The page of the API, after all that it describes."""
    page = api_page(app.openapi())
    headers = _policy(page)

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)
