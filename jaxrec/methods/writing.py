"""Ratings and texts: what a system is taught of them, how it is asked, and how its answers are measured."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxrec.data.features import explanations, feature_words
from jaxrec.data.pipeline import packed
from jaxrec.evaluate.text_baselines import Stars, explanation_baselines, rating_baselines, summary_baselines
from jaxrec.evaluate.texts import TextResult
from jaxrec.keys import generator
from jaxrec.methods.run import Run
from jaxrec.methods.system import System, histories_of
from jaxrec.models.rating_mf import RatingMfConfig, fit_rating_mf
from jaxrec.recommend.generate import ChoiceScorer, TextGenerator
from jaxrec.tasks.prompts import templates
from jaxrec.tasks.ragged import pad_rows
from jaxrec.tasks.writing import ANSWERS, Material, Questions, WritingExamples, stars_text
from jaxrec.tokenizers.fold_in import unit_rows
from jaxrec.train.state import PureLoss, Tree

CHOICES = 20
"""Different ratings that data may have: each is a possible answer."""


def material(run: Run) -> Material:
    """What may be told or asked of the run's events; feature words are found in the training events alone."""
    assert run.events is not None
    data, empty = run.data, np.full(run.data.n_events, "", object)
    text = data.text or {}
    review, summary = text.get("review", empty), text.get("summary", empty)
    features = feature_words(review[run.events.train].tolist()) if "explanation" in run.config.task.writing else []
    feature, sentence = explanations(review.tolist(), features) if features else (empty, empty)
    stars = empty if data.rating is None else np.array([stars_text(float(r)) for r in data.rating], object)
    return Material(data.user.astype(np.int64), data.item.astype(np.int64), stars, feature, sentence, review, summary)


def examples(system: System, rows: np.ndarray) -> WritingExamples:
    """Examples of all tasks that write, about some events i64[*]."""
    known, tokens = _named(system, material(system.run))
    return WritingExamples(
        system.vocabulary,
        known,
        rows,
        system.item_tokens,
        tokens,
        task=system.run.config.task,
        seed=system.run.config.seed,
    )


def validator(system: System, loss_fn: PureLoss) -> Callable[[Tree, Tree], dict[str, float]]:
    """A function of parameters and buffers: the mean negative log-likelihood of validation answers' tokens."""
    run, settings = system.run, system.run.config.train
    assert run.events is not None
    rows = run.events.valid
    if 0 < settings.validate_users < len(rows):
        rows = generator(run.config.seed, "validation events").permutation(rows)[: settings.validate_users]
    data = packed(
        examples(system, np.sort(rows)),
        rows=settings.rows,
        source_length=settings.source_length,
        target_length=settings.target_length,
        seed=run.config.seed,
    )
    compiled = jax.jit(lambda params, buffers, batch: loss_fn(params, buffers, batch, None)[1]["loss"])

    def validate(params: Tree, buffers: Tree) -> dict[str, float]:
        batches = iter(data)
        total, weight = 0.0, 0.0
        for _ in range(data.steps_per_epoch):
            batch = next(batches)
            here = float(batch.weights.sum())
            total, weight = total + here * float(compiled(params, buffers, batch)), weight + here
        return {"nll": total / weight}

    return validate


class Writer:
    """Asks a trained system for stars and texts."""

    def __init__(self, system: System) -> None:
        """Prepares the two ways to ask: what answer is likely, and how likely given answers are."""
        run, vocabulary, settings = system.run, system.vocabulary, system.run.config
        assert run.events is not None
        self.system = system
        names = vocabulary.tokenizer.convert_ids_to_tokens(list(range(vocabulary.first_oov)))
        banned = set(vocabulary.tokenizer.all_special_ids) - {vocabulary.end}
        allowed = np.zeros(vocabulary.size, bool)
        allowed[: vocabulary.first_oov] = [n not in banned and not t.startswith("<unused") for n, t in enumerate(names)]
        self._generator = TextGenerator(
            system.model,  # pyright: ignore[reportArgumentType]  # run.check refuses a retriever
            end=vocabulary.end,
            allowed=allowed,
            longest=settings.task.max_answer + 1,  # and its end
            beams=settings.eval.text_beams,
            batch=settings.eval.batch_users,
        )
        self.stars = np.zeros(0)
        """Ratings of the training events, each once, rising."""
        if run.data.rating is not None:
            self.stars = np.unique(run.data.rating[run.events.train].astype(np.float64))
            if len(self.stars) > CHOICES and {"rating", "preference"} & set(settings.task.writing):
                raise ValueError(
                    f"ratings take {len(self.stars)} values; tasks of stars want at most {CHOICES}, rounded"
                )
            rows = [np.append(vocabulary.encode(stars_text(s)), vocabulary.end) for s in self.stars]
            choices = np.zeros((len(rows), max(map(len, rows), default=1)), np.int32)
            for n, row in enumerate(rows):
                choices[n, : len(row)] = row
            self._scorer = ChoiceScorer(system.model, choices, batch=settings.eval.batch_users)  # pyright: ignore

    @functools.cached_property
    def _data(self) -> tuple[Material, np.ndarray | None]:
        return _named(self.system, material(self.system.run))

    def texts(self, source: np.ndarray) -> list[str]:
        """Free text for prompts i32[B,S]."""
        found = self._generator(source)
        return [
            str(self.system.vocabulary.tokenizer.decode(row[row != 0], skip_special_tokens=True)).strip()
            for row in np.asarray(found.tokens)
        ]

    def odds(self, source: np.ndarray) -> np.ndarray:
        """How probable each of `stars` is among them, f64[B, len(stars)], for prompts i32[B,S]."""
        scores = np.asarray(self._scorer(source), np.float64)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def prompts(
        self, task: str, known: Material, tokens: np.ndarray | None, rows: np.ndarray, *, prompt: str = "seen"
    ) -> np.ndarray:
        """Prompts of a task about some events, i32[B,S]: the first template of training, or the unseen one."""
        template, system = templates(task, seen=prompt == "seen")[0], self.system
        asked = Questions(system.vocabulary, [template], known, system.item_tokens, tokens, system.run.config.task)
        made = asked.prompts(np.zeros(len(rows), np.int64), rows)
        return pad_rows(made, int(np.diff(made[1]).max(initial=1)))

    def measure(self, part: str) -> list[TextResult]:
        """Answers about the held-out events of a part ("valid" or "test"), and the baselines', task by task."""
        run, results = self.system.run, []
        for task in run.config.task.writing:
            run.say(f"measuring {task} on the {part} events")
            rows = self.rows(task, part)
            results += self._stars(task, rows) if ANSWERS[task] == "stars" else self._words(task, rows)
        return results

    def rows(self, task: str, part: str) -> np.ndarray:
        """Held-out events that a task is measured on, i64[*]."""
        run, (known, _) = self.system.run, self._data
        assert run.events is not None
        rows = {"valid": run.events.valid, "test": run.events.test}[part]
        rows, most = rows[known.asked(task)[rows]], run.config.eval.text_events
        if 0 < most < len(rows):
            rows = np.sort(generator(run.config.seed, f"{task} events").permutation(rows)[:most])
        if not len(rows):
            raise ValueError(f"task {task!r} can be asked of no {part} event; leave it out of task.tasks")
        return rows

    def _prompts_of_settings(self) -> list[tuple[str, str]]:
        """What is measured: the prompt, and what the row's name gets."""
        setting = self.system.run.config.eval.prompt
        return [(p, "" if p == "seen" else ", unseen prompt") for p in ("seen", "unseen") if setting in (p, "both")]

    def _stars(self, task: str, rows: np.ndarray) -> list[TextResult]:
        run, (known, tokens) = self.system.run, self._data
        assert run.data.rating is not None
        assert run.events is not None
        ratings = run.data.rating.astype(np.float64)
        truth, found = ratings[rows], []
        for prompt, suffix in self._prompts_of_settings():
            began = time.perf_counter()
            odds = self.odds(self.prompts(task, known, tokens, rows, prompt=prompt))
            seconds, name = time.perf_counter() - began, self.system.name
            found.append(TextResult.of_stars(task, name + suffix, odds @ self.stars, truth, seconds=seconds))
            likely = self.stars[odds.argmax(axis=1)]
            found.append(TextResult.of_stars(task, f"{name}, most likely{suffix}", likely, truth, seconds=seconds))

        def stars(rows: np.ndarray) -> Stars:
            return Stars(run.data.user[rows], run.data.item[rows], ratings[rows])

        sizes = run.data.n_users, run.data.n_items
        train, valid, test = stars(run.events.train), stars(run.events.valid), stars(rows)
        rivals = rating_baselines(train, valid, test, *sizes)
        mf = fit_rating_mf(train, valid, *sizes, RatingMfConfig(), seed=run.config.seed)
        rivals.append(("MF", mf(test.user, test.item)))
        return found + [TextResult.of_stars(task, name, made, truth, baseline=True) for name, made in rivals]

    def _words(self, task: str, rows: np.ndarray) -> list[TextResult]:
        run, (known, tokens) = self.system.run, self._data
        assert run.events is not None
        truth, found = getattr(known, ANSWERS[task])[rows].tolist(), []
        for prompt, suffix in self._prompts_of_settings():
            began = time.perf_counter()
            made = self.texts(self.prompts(task, known, tokens, rows, prompt=prompt))
            seconds = time.perf_counter() - began
            found.append(TextResult.of_texts(task, self.system.name + suffix, made, truth, seconds=seconds))
        train = run.events.train[known.asked(task)[run.events.train]]
        if task == "review":
            rivals = summary_baselines(known.summary[train].tolist(), known.review[rows].tolist())
        else:
            rivals = explanation_baselines(
                known.item[train],
                known.feature[train].tolist(),
                known.sentence[train].tolist(),
                known.item[rows],
                known.feature[rows].tolist(),
            )
        return found + [TextResult.of_texts(task, name, made, truth, baseline=True) for name, made in rivals]

    def examples(self, task: str, part: str, n: int = 5) -> list[dict[str, str]]:
        """For a few held-out events, drawn by the seed: who and what, what was given, the answer and the truth."""
        run, (known, tokens) = self.system.run, self._data
        rows = self.rows(task, part)
        rows = generator(run.config.seed, f"examples of {task}").permutation(rows)[:n]
        source, titles = self.prompts(task, known, tokens, rows), run.data.titles()
        if ANSWERS[task] == "stars":
            answers = [f"{value:.2f}" for value in self.odds(source) @ self.stars]
        else:
            answers = self.texts(source)
        given = {"rating": None, "explanation": known.feature}.get(task, known.review)
        return [
            {
                "user": str(run.data.user_names[run.data.user[row]]),
                "item": str(titles[run.data.item[row]]),
                "given": "" if given is None else str(given[row]),
                "answer": answer,
                "truth": str(getattr(known, ANSWERS[task])[row]),
            }
            for row, answer in zip(rows.tolist(), answers, strict=True)
        ]

    def ask(
        self, task: str, user: int, items: np.ndarray, *, feature: str = "", review: str = "", stars: str = ""
    ) -> list[dict[str, Any]]:
        """What the system says of a user and some items.

        Args:
          task: one that was trained and writes.
          user: a number of the run's data.
          items: i64[n].
          feature: what an explanation is about.
          review: what is summed up or rated.
          stars: what the user gave, where a template tells; the one that is asked by does not.
        Returns:
          for each item {"text": ...} or {"stars": expected, "odds": {stars: probability}}.
        Raises:
          ValueError: something is missing that the task needs.
        """
        n = len(items)
        known = Material(
            np.zeros(n, np.int64), items, *(np.full(n, text, object) for text in (stars, feature, "", review, ""))
        )
        if not known.asked(task, answered=False).all():
            need = {"explanation": "feature"}.get(task, "review")
            raise ValueError(f"task {task!r} needs --{need}, what it is about")
        users = np.array([user])
        codes = self.system.user_codes(histories_of(self.system.histories, users), users)
        tokens = None if codes is None else self.system.vocabulary.ids("<User>", codes).tokens
        source = self.prompts(task, known, tokens, np.arange(n))
        if ANSWERS[task] != "stars":
            return [{"text": text} for text in self.texts(source)]
        odds = self.odds(source)
        return [
            {"stars": float(row @ self.stars), "odds": dict(zip(map(stars_text, self.stars.tolist()), row.tolist()))}
            for row in odds
        ]


def _named(system: System, known: Material) -> tuple[Material, np.ndarray | None]:
    """The material with rows of the users' tokens, and those tokens; None where prompts hold no user ids.

    A causal id is made of the user's other training events: an event that teaches is not in it, as one that tests
    never is.
    """
    run, table = system.run, system.ids.users
    if run.config.ids.users == "none":
        return known, None
    if run.config.ids.users == "static":
        return known, system.vocabulary.ids("<User>", table).tokens
    vectors = _of_other_events(system)
    codes = dataclasses.replace(table, values=system.ids.encode(vectors, "user", unique=False))
    return dataclasses.replace(known, user=np.arange(len(known.user))), system.vocabulary.ids("<User>", codes).tokens


def _of_other_events(system: System) -> np.ndarray:
    """For every event the mean over the user's training events but itself, f32[N,F]; zeros where there is none."""
    data, train = system.run.data, system.run.split.train
    units = unit_rows(system.embedding.vectors.item).astype(np.float64)
    sums, counts = np.zeros((data.n_users, units.shape[1])), np.bincount(train.users, minlength=data.n_users)
    np.add.at(sums, train.users, units[train.items])
    pair = data.user.astype(np.int64) * data.n_items + data.item
    mine = np.isin(pair, train.users.astype(np.int64) * data.n_items + train.items)[:, None]
    others = sums[data.user] - np.where(mine, units[data.item], 0)
    return (others / np.maximum(counts[data.user][:, None] - mine, 1)).astype(np.float32)
