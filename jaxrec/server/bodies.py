"""Bodies of requests and answers, with their types and bounds; OpenAPI is made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """Of a request; a misspelt field is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RecommendRequest(Body):
    """Whom to recommend to, and what may be listed."""

    user: str | None = Field(None, description="name of a user of the data or of an event")
    history: list[str] | None = Field(None, description="names of somebody new's items, oldest first, instead of user")
    k: int = Field(10, ge=-(10**9), le=10**9, description="number of items, at least 1")
    exclude: list[str] = Field([], description="names of items to leave out")
    allow: list[str] | str | None = Field(
        None, description="names of the only items that may be listed, or the name of a list of the server; null: all"
    )
    include_seen: bool | None = Field(
        None, description="whether items of the history may be listed; null: as the run was configured"
    )
    task: str | None = Field(None, description="a ranking task of the run; null: its main task")
    model: str | None = Field(None, description="name of a model; null: by the user's share, else the first")


class RecommendRequests(Body):
    """Many requests in one call; all are answered, or none."""

    requests: list[RecommendRequest]


class Item(BaseModel):
    """An item of the catalogue."""

    item: str = Field(description="name in the data")
    title: str
    id_tokens: str = Field(description="its id: <Item><CT3><CI17>")


class ScoredItem(Item):
    """A recommended item."""

    score: float


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str = Field(description="hash of config and weights")


class RecommendAnswer(BaseModel):
    """A list, best first."""

    model: ModelName
    score: str = Field(description="what scores are: log-probability, cosine, or a blend's weighted log-probability")
    items: list[ScoredItem]
    reason: str = Field(description='why there are fewer than k items; "" where there are k')
    ms: float = Field(description="milliseconds from the body's arrival to the answer, waiting included")


class RecommendAnswers(BaseModel):
    """The answers to many requests, in their order."""

    answers: list[RecommendAnswer]


class StepsRequest(Body):
    """For whom a beam search is to be shown; fields as in a request for recommendations."""

    user: str | None = None
    history: list[str] | None = None
    exclude: list[str] = []
    allow: list[str] | str | None = None
    include_seen: bool | None = None
    task: str | None = None
    model: str | None = None


class Beam(BaseModel):
    """A prefix of ids that a step kept."""

    tokens: str = Field(description="<Item><CT3>")
    log_probability: float = Field(description="of these tokens")
    title: str | None = Field(description="of the item where the id is whole")


class Step(BaseModel):
    """One step of a beam search."""

    tried: int = Field(description="prefixes that were scored")
    beams: list[Beam] = Field(description="those that were kept, best first")


class StepsAnswer(BaseModel):
    """A beam search step by step; the last step has whole ids."""

    model: ModelName
    lists_by_ids: bool = Field(description="whether the model's lists come from this search, not from an item head")
    steps: list[Step]
    ms: float


class EventBody(Body):
    """A user took an item."""

    user: str
    item: str
    title: str | None = Field(None, description="of an item that is new")


class EventsRequest(Body):
    """New events, in their order."""

    events: list[EventBody]
    model: str | None = Field(None, description="whose store they go to; null: of all models")


class EventsDone(BaseModel):
    """What was new for one model."""

    events: int
    new_users: int
    new_items: int
    known_events: int = Field(description="events that were known already, which are skipped")


class EventsAnswer(BaseModel):
    """The events are in the stores, and count from the next request on."""

    models: dict[str, EventsDone]
    ms: float


class AskRequest(Body):
    """A rating, or a text."""

    task: Literal["rating", "explanation", "review", "preference"]
    user: str
    items: list[str] = Field([], description='for "rating" and "explanation"')
    feature: str = Field("", description="feature word of an explanation")
    review: str = Field("", description='the review that "review" summarises and "preference" rates')
    model: str | None = None


class AskedText(BaseModel):
    """An answer in words."""

    about: str = Field(description='title of the item; "" about a review')
    text: str


class AskAnswer(BaseModel):
    """One answer per item, or one about the review."""

    model: ModelName
    answers: list[AskedText]
    ms: float


class ItemsAnswer(BaseModel):
    """Items that a search found."""

    items: list[Item]


class UsersAnswer(BaseModel):
    """Names of users that a search found."""

    users: list[str]


class UserAnswer(BaseModel):
    """A user as the model knows them."""

    user: str
    model: ModelName
    id_tokens: str = Field(description='the id in prompts; "" without user ids')
    history: list[Item] = Field(description="oldest first")


class ModelInfo(ModelName):
    """A model that the server has."""

    method: str
    score: str
    ranking_tasks: list[str]
    text_tasks: list[str]
    users: int
    items: int
    most: int = Field(description="most items of a list")
    says_ids: bool = Field(description="whether it generates ids, so that /v1/steps can show how")
    has_report: bool = Field(description="whether /v1/report has the page of its run")
    share: float = Field(description="of the users who are answered by it where no model is named")
    ready: bool


class ModelsAnswer(BaseModel):
    """All models; the first is the default."""

    models: list[ModelInfo]


class ReloadRequest(Body):
    """Read a model's folder again."""

    model: str | None = Field(None, description="null: the first")


class Problem(BaseModel):
    """Every answer that is no success."""

    status: int
    error: str = Field(description="what is wrong and what to do, in a sentence")
