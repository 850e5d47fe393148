"""From requests' bodies to models and back: names to numbers, lists to items with titles and ids."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import time
from asyncio import Future
from collections.abc import Sequence

from jaxrec.inference import beam_steps, queries
from jaxrec.report.run_report import REPORT_FILE
from jaxrec.server import bodies
from jaxrec.server.errors import NotReadyError
from jaxrec.server.limits import Limits
from jaxrec.server.model import Asked, Event, Listed, ServedModel
from jaxrec.server.models import Models
from jaxrec.server.snapshot import Snapshot
from jaxrec.text import quoted


async def recommend(models: Models, limits: Limits, requests: Sequence[bodies.RecommendRequest]) -> list[bytes]:
    """Answers requests, each by its model, in as few device calls as there are groups.

    Returns:
      The JSON of a `bodies.RecommendAnswer` for each.
    Raises:
      ValueError: a request is wrong; the message says which.
      FullError: a model's queue is full.
      NotReadyError: a model is still being compiled.
      TimeoutError: there is no answer in time.
    """
    started = time.monotonic()
    _check_count("requests", len(requests), limits.requests)
    by_model: dict[str, list[tuple[int, Asked]]] = {}
    for place, request in enumerate(requests):
        try:
            model = models.choose(request.model, request.user)
            by_model.setdefault(model.name, []).append((place, _asked(model, limits, request)))
        except ValueError as error:
            raise ValueError(f"requests[{place}]: {error}" if len(requests) > 1 else str(error)) from error
    futures: list[tuple[int, str, Future[Listed]]] = []
    for name, asked in by_model.items():
        submitted = models.by_name[name].submit([one for _, one in asked])
        futures += [(place, name, future) for (place, _), future in zip(asked, submitted, strict=True)]
    try:
        async with asyncio.timeout(limits.answer_seconds):
            first = futures[0][2]
            lists = [await first] if len(futures) == 1 else await asyncio.gather(*(future for *_, future in futures))
    except ValueError as error:  # names and numbers are checked above: whatever is wrong now is not the caller's
        raise RuntimeError("a batch failed") from error
    ms = 1000 * (time.monotonic() - started)
    answers = {place: _answer(name, one, ms) for (place, name, _), one in zip(futures, lists, strict=True)}
    return [answers[place] for place in range(len(requests))]


def events(models: Models, limits: Limits, body: bodies.EventsRequest) -> bodies.EventsAnswer:
    """Adds events to one model's store or to all; blocks until they are there.

    Raises:
      ValueError: an event is wrong, or a store can't be written.
    """
    started = time.monotonic()
    _check_count("events", len(body.events), limits.names)
    for place, event in enumerate(body.events):
        lengths = {"user": (event.user, 1), "item": (event.item, 1), "title": (event.title or "-", 5)}
        for field, (text, times) in lengths.items():
            if not 1 <= len(text) <= times * limits.name_length:
                most = f"1 to {times * limits.name_length} characters"
                raise ValueError(f"events[{place}]: {field} must have {most}; got {quoted(text)}")
    chosen = list(models.by_name.values()) if body.model is None else [models.choose(body.model)]
    added = [Event(event.user, event.item, event.title) for event in body.events]
    done = {}
    for model in chosen:
        update = model.update(added)
        done[model.name] = bodies.EventsDone(
            events=update.events,
            new_users=update.new_users,
            new_items=update.new_items,
            known_events=update.known_events,
        )
    return bodies.EventsAnswer(models=done, ms=1000 * (time.monotonic() - started))


def ask(models: Models, limits: Limits, body: bodies.AskRequest) -> bodies.AskAnswer:
    """A model's ratings or texts; blocks.

    Raises:
      ValueError: the request is wrong.
    """
    started = time.monotonic()
    if body.items:
        _check_count("items", len(body.items), limits.requests)
    model = models.choose(body.model, body.user)
    answers = model.ask(body.task, body.user, body.items, body.feature, body.review)
    return bodies.AskAnswer(
        model=model_name(model, model.snapshot),
        answers=[bodies.AskedText(about=about, text=text) for about, text in answers],
        ms=1000 * (time.monotonic() - started),
    )


def steps(models: Models, limits: Limits, body: bodies.StepsRequest) -> bodies.StepsAnswer:
    """A beam search step by step; blocks.

    Raises:
      ValueError: the request is wrong, or the model generates no ids.
      NotReadyError: the model is still being compiled.
    """
    started = time.monotonic()
    model = models.choose(body.model, body.user)
    asked = _asked(model, limits, bodies.RecommendRequest(k=1, **body.model_dump()))
    snapshot = asked.snapshot
    if snapshot.blend:
        raise ValueError(f"{snapshot.blend.name} is a blend, whose lists come from no beam search; ask a run")
    titles = snapshot.system.data.titles()
    shown = [
        bodies.Step(
            tried=step.tried,
            beams=[
                bodies.Beam(
                    tokens=beam.tokens,
                    log_probability=beam.log_probability,
                    title=str(titles[beam.item]) if beam.item >= 0 else None,
                )
                for beam in step.beams
            ],
        )
        for step in beam_steps.beam_steps(snapshot.system, asked.query, asked.task)
    ]
    return bodies.StepsAnswer(
        model=model_name(model, snapshot),
        lists_by_ids=beam_steps.lists_by_ids(snapshot.system),
        steps=shown,
        ms=1000 * (time.monotonic() - started),
    )


def user(model: ServedModel, name: str) -> bodies.UserAnswer:
    """A user's history and id.

    Raises:
      ValueError: the name is unknown.
    """
    snapshot = model.snapshot
    asked = queries.query(snapshot.system, snapshot.names, user=name)
    return bodies.UserAnswer(
        user=name,
        model=model_name(model, snapshot),
        id_tokens=queries.user_id(snapshot.system, asked),
        history=[item(snapshot, int(number)) for number in asked.history],
    )


def model_info(model: ServedModel, share: float) -> bodies.ModelInfo:
    """What a caller may want to know of a model."""
    snapshot = model.snapshot
    system, tasks, blend = snapshot.system, snapshot.system.config.task, snapshot.blend
    return bodies.ModelInfo(
        name=model.name,
        version=snapshot.version,
        method=blend.name if blend else system.name,
        score=snapshot.score,
        ranking_tasks=list(tasks.ranking[:1] if blend else tasks.ranking),
        text_tasks=[] if blend else list(tasks.writing),
        users=system.data.n_users,
        items=system.data.n_items,
        most=snapshot.most,
        says_ids=not blend and beam_steps.says_ids(system),
        has_report=(model.folder / REPORT_FILE).is_file(),
        share=share,
        ready=model.ready,
    )


def model_name(model: ServedModel, snapshot: Snapshot) -> bodies.ModelName:
    """Name and version."""
    return bodies.ModelName(name=model.name, version=snapshot.version)


def item(snapshot: Snapshot, number: int) -> bodies.Item:
    """An item with its title and id."""
    return bodies.Item(**snapshot.item(number))


def _asked(model: ServedModel, limits: Limits, request: bodies.RecommendRequest) -> Asked:
    if not model.ready:
        raise NotReadyError
    snapshot = model.snapshot
    task = snapshot.task(request.task)
    snapshot.check_k(request.k)
    for field, names, most in (
        ("history", request.history or (), limits.history),
        ("exclude", request.exclude, limits.names),
        ("allow", request.allow if isinstance(request.allow, list) else (), limits.names),
    ):
        if len(names) > most:
            raise ValueError(f"{field} has {len(names):,} names, more than the {most:,} that this server reads")
    query = queries.query(
        snapshot.system,
        snapshot.names,
        user=request.user,
        history=request.history,
        exclude=request.exclude,
        allow=request.allow if isinstance(request.allow, list) else None,
        include_seen=request.include_seen,
    )
    if isinstance(request.allow, str):
        query = dataclasses.replace(query, allow=snapshot.allow_list(request.allow))
    snapshot.check(query)
    return Asked(snapshot, task, query, request.k)


def _answer(name: str, listed: Listed, ms: float) -> bytes:
    """The JSON of a `bodies.RecommendAnswer`, put together from parts that are the same in many answers."""
    snapshot = listed.snapshot
    rows = zip(listed.items, listed.scores, strict=True)
    items = b",".join([b"%b%b}" % (snapshot.head(number), repr(score).encode()) for number, score in rows])
    reason = json.dumps(listed.reason).encode()
    return b'%b,"items":[%b],"reason":%b,"ms":%.3f}' % (
        _head(name, snapshot.version, snapshot.score),
        items,
        reason,
        ms,
    )


@functools.lru_cache(maxsize=64)
def _head(name: str, version: str, score: str) -> bytes:
    content = {"model": {"name": name, "version": version}, "score": score}
    return json.dumps(content, separators=(",", ":")).encode().removesuffix(b"}")


def _check_count(name: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise ValueError(f"{name} must have 1 to {most:,} entries; got {count:,}")
