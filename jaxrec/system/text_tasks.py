"""Rating prediction and text generation with a trained system, and their evaluation beside baselines."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special

from jaxrec.baselines.rating_mf import RatingMfConfig, fit_rating_mf
from jaxrec.baselines.texts import (
    Stars,
    explanation_baselines,
    preference_baselines,
    rating_baselines,
    summary_baselines,
)
from jaxrec.evaluate.text_results import TextResult
from jaxrec.keys import generator
from jaxrec.recommend.text_generation import ChoiceScorer, TextGenerator
from jaxrec.system.system import System
from jaxrec.system.text_examples import with_user_tokens
from jaxrec.system.timing import milliseconds_each
from jaxrec.tasks.ragged import histories_of, pad_rows
from jaxrec.tasks.templates import answered_template
from jaxrec.tasks.writing_examples import ANSWERS, TextEvents, WritingPrompts, stars_text
from jaxrec.types import Histories

TIMED = 256
"""Maximum number of answers for timing."""
CALIBRATED = 1000
"""Maximum number of validation events to fit a task's temperature to."""


class Writer:
    """Predicts ratings and generates texts with a trained system.

    Attributes:
      system: that answers; it has text tasks.
      stars: distinct ratings of the training events, ascending, f64[*].
    """

    def __init__(self, system: System) -> None:
        """Prepares text generation and, where the data has ratings, the scoring of each possible rating."""
        vocabulary, settings = system.vocabulary, system.config
        assert system.events is not None
        self.system = system
        names = vocabulary.tokenizer.convert_ids_to_tokens(list(range(vocabulary.first_oov)))
        banned = set(vocabulary.tokenizer.all_special_ids) - {vocabulary.end}
        allowed = np.zeros(vocabulary.size, bool)
        allowed[: vocabulary.first_oov] = [n not in banned and not t.startswith("<unused") for n, t in enumerate(names)]
        self._generator = TextGenerator(
            system.current_model,
            end=vocabulary.end,
            allowed=allowed,
            longest=settings.task.max_answer + 1,  # and the end token
            beams=settings.eval.text_beams,
            batch=settings.eval.batch_users,
        )
        self.stars = np.zeros(0)
        self._temperatures: dict[str, float] = {}
        if system.data.rating is not None:
            self.stars = np.unique(system.data.rating[system.events.train].astype(np.float64))
            rows = [np.append(vocabulary.encode(stars_text(s)), vocabulary.end) for s in self.stars]
            choices = np.zeros((len(rows), max(map(len, rows), default=1)), np.int32)
            for n, row in enumerate(rows):
                choices[n, : len(row)] = row
            self._scorer = ChoiceScorer(system.current_model, choices, batch=settings.eval.batch_users)

    @functools.cached_property
    def _data(self) -> tuple[TextEvents, np.ndarray | None]:
        return with_user_tokens(self.system)

    def texts(self, source: np.ndarray) -> list[str]:
        """Generated texts for prompts i32[B,S]."""
        answers = self._generator(source)
        return [
            str(self.system.vocabulary.tokenizer.decode(row[row != 0], skip_special_tokens=True)).strip()
            for row in np.asarray(answers.tokens)
        ]

    def odds(self, source: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Probability of each rating in `stars`, f64[B, len(stars)]; rows sum to 1.

        Args:
          source: prompts i32[B,S], padded with 0.
          temperature: divides the log-likelihoods of the ratings; see `temperature`.
        """
        return scipy.special.softmax(np.asarray(self._scorer(source), np.float64) / temperature, axis=1)

    def temperature(self, task: str) -> float:
        """Temperature that minimises the validation negative log-likelihood of the ratings (Guo et al. 2017).

        It divides the log-likelihoods of the ratings, in exp(-2) to exp(2); 1 without validation events.
        """
        if task not in self._temperatures:
            system, (material, tokens) = self.system, self._data
            assert system.events is not None
            assert system.data.rating is not None
            rows = system.events.valid[material.usable(task)[system.events.valid]]
            rows = rows[np.isin(system.data.rating[rows], self.stars)]
            rows = generator(system.config.seed, f"{task} events to calibrate by").permutation(rows)[:CALIBRATED]
            temperature = 1.0
            if len(rows):
                scores = np.asarray(self._scorer(self.prompts(task, material, tokens, rows)), np.float64)
                labels = np.searchsorted(self.stars, system.data.rating[rows])

                def mean_nll(log_temperature: float) -> float:
                    log_probabilities = scipy.special.log_softmax(scores / np.exp(log_temperature), axis=1)
                    return -float(log_probabilities[np.arange(len(rows)), labels].mean())

                best: Any = scipy.optimize.minimize_scalar(mean_nll, bounds=(-2.0, 2.0), method="bounded")
                temperature = float(np.exp(best.x))
            self._temperatures[task] = temperature
        return self._temperatures[task]

    def prompts(
        self, task: str, events: TextEvents, tokens: np.ndarray | None, rows: np.ndarray, *, prompt: str = "seen"
    ) -> np.ndarray:
        """Prompts of a task for the events `rows` i64[B], i32[B,S], padded with 0.

        Args:
          task: a text task.
          events: stars and texts.
          tokens: user-id tokens that `events.user` indexes, i32[*,1+L], or None.
          rows: of `events`.
          prompt: "seen" or "unseen": the first template of training, or one that training did not use.
        """
        system, settings = self.system, self.system.config.task
        template = answered_template(task, seen=prompt == "seen", vectors=settings.prompt_vectors)
        subset = events.take(rows)
        prompts = WritingPrompts(system.vocabulary, [template], subset, system.item_mentions, tokens, settings)
        ragged = prompts.prompts(np.zeros(len(rows), np.int64), np.arange(len(rows)))
        return pad_rows(ragged, int(np.diff(ragged[1]).max(initial=1)))

    def measure(self, part: str) -> list[TextResult]:
        """Evaluates the system and the baselines on the held-out events of `part` ("valid" or "test"), task by task."""
        system, results = self.system, []
        for task in system.config.task.writing:
            system.say(f"measuring {task} on the {part} events")
            rows = self.rows(task, part)
            results += self._stars(task, rows) if ANSWERS[task] == "stars" else self._words(task, rows)
        return results

    def rows(self, task: str, part: str) -> np.ndarray:
        """Held-out events of `part` on which a task is evaluated, i64[*].

        Raises:
          ValueError: no held-out event has what the task needs.
        """
        system, (material, _) = self.system, self._data
        assert system.events is not None
        rows = {"valid": system.events.valid, "test": system.events.test}[part]
        rows, limit = rows[material.usable(task)[rows]], system.config.eval.text_events
        if 0 < limit < len(rows):
            rows = np.sort(generator(system.config.seed, f"{task} events").permutation(rows)[:limit])
        if not len(rows):
            raise ValueError(f"task {task!r} can be asked of no {part} event; leave it out of task.tasks")
        return rows

    def _prompt_settings(self) -> list[tuple[str, str]]:
        """The prompts to evaluate, each with the suffix of its row's name."""
        setting = self.system.config.eval.prompt
        suffixes = {"seen": "", "unseen": " (unseen prompt)"}
        return [(prompt, suffix) for prompt, suffix in suffixes.items() if setting in (prompt, "both")]

    def _stars(self, task: str, rows: np.ndarray) -> list[TextResult]:
        system, (material, tokens), name = self.system, self._data, self.system.name
        assert system.data.rating is not None
        assert system.events is not None
        ratings = system.data.rating.astype(np.float64)
        truth, results = ratings[rows], []
        for prompt, suffix in self._prompt_settings():
            source = self.prompts(task, material, tokens, rows, prompt=prompt)
            odds = self.odds(source, self.temperature(task))
            ms = milliseconds_each(self.odds, source[:TIMED])
            most_likely = self.stars[odds.argmax(axis=1)]
            results.append(TextResult.of_stars(task, name + suffix, odds @ self.stars, truth, ms=ms))
            results.append(TextResult.of_stars(task, f"{name}, most likely{suffix}", most_likely, truth, ms=ms))

        def stars_of(rows: np.ndarray) -> Stars:
            return Stars(system.data.user[rows], system.data.item[rows], ratings[rows])

        sizes, events = (system.data.n_users, system.data.n_items), system.events
        train, valid, test = stars_of(events.train), stars_of(events.valid), stars_of(rows)
        rivals = rating_baselines(train, valid, test, *sizes)
        mf = fit_rating_mf(train, valid, *sizes, RatingMfConfig(), seed=system.config.seed)
        rivals.append(("MF", mf(test.user, test.item)))
        if task == "preference":
            texts = [material.review[part].tolist() for part in (events.train, events.valid, rows)]
            rivals += preference_baselines(texts[0], train, texts[1], valid, texts[2])
        return results + [TextResult.of_stars(task, name, stars, truth, baseline=True) for name, stars in rivals]

    def _words(self, task: str, rows: np.ndarray) -> list[TextResult]:
        system, (material, tokens) = self.system, self._data
        assert system.events is not None
        truth, results = getattr(material, ANSWERS[task])[rows].tolist(), []
        for prompt, suffix in self._prompt_settings():
            source = self.prompts(task, material, tokens, rows, prompt=prompt)
            answers, ms = self.texts(source), milliseconds_each(self.texts, source[:TIMED])
            results.append(TextResult.of_texts(task, self.system.name + suffix, answers, truth, ms=ms))
        train = system.events.train[material.usable(task)[system.events.train]]
        if task == "review":
            rivals = summary_baselines(
                material.summary[train].tolist(), material.review[train].tolist(), material.review[rows].tolist()
            )
        else:
            rivals = explanation_baselines(
                material.item[train],
                material.feature[train].tolist(),
                material.sentence[train].tolist(),
                material.item[rows],
                material.feature[rows].tolist(),
            )
        return results + [TextResult.of_texts(task, name, texts, truth, baseline=True) for name, texts in rivals]

    def examples(self, task: str, part: str, n: int = 5) -> list[dict[str, str]]:
        """Sampled held-out events of `part`: user, item, given text, the model's answer and the true one."""
        system, (material, tokens) = self.system, self._data
        rows = self.rows(task, part)
        rows = generator(system.config.seed, f"examples of {task}").permutation(rows)[:n]
        source, titles = self.prompts(task, material, tokens, rows), system.data.titles()
        if ANSWERS[task] == "stars":
            answers = [f"{value:.2f}" for value in self.odds(source, self.temperature(task)) @ self.stars]
        else:
            answers = self.texts(source)
        given_texts = {"rating": None, "explanation": material.feature}.get(task, material.review)
        return [
            {
                "user": str(system.data.user_names[system.data.user[row]]),
                "item": str(titles[system.data.item[row]]),
                "given": "" if given_texts is None else str(given_texts[row]),
                "answer": answer,
                "truth": str(getattr(material, ANSWERS[task])[row]),
            }
            for row, answer in zip(rows.tolist(), answers, strict=True)
        ]

    def ask(
        self, task: str, user: int, items: np.ndarray, *, feature: str = "", review: str = ""
    ) -> list[dict[str, Any]]:
        """Predicts a user's ratings of items, or generates texts about them or about a review.

        Args:
          task: a text task that the run was trained on.
          user: number of a user of the run's data.
          items: i64[n].
          feature: feature word of an explanation.
          review: text to summarise ("review") or to rate ("preference").
        Returns:
          For each item {"text": ...}, or {"stars": expected rating, "odds": {rating: probability}}.
        Raises:
          ValueError: `feature` or `review` is missing though the task needs it, or given though it does not read it.
        """
        needs = {"explanation": "feature", "review": "review", "preference": "review"}.get(task)
        for name, text in (("feature", feature), ("review", review)):
            if name == needs and not text:
                raise ValueError(f"task {task!r} needs --{name}")
            if name != needs and text:
                raise ValueError(f"task {task!r} does not read --{name}; leave it out")
        n = len(items)
        texts = (np.full(n, text, object) for text in ("", feature, "", review, ""))
        events, tokens = TextEvents(np.arange(n), items, *texts), None
        histories = histories_of(self.system.histories, np.full(n, user))
        if needs != "review":  # as in training, a causal id is computed from the user's other events
            histories = _without(histories, items)
        codes = self.system.user_codes(histories, np.full(n, user))
        if codes is not None:
            tokens = self.system.vocabulary.ids("<User>", codes).tokens
        source = self.prompts(task, events, tokens, np.arange(n))
        if ANSWERS[task] != "stars":
            return [{"text": text} for text in self.texts(source)]
        odds = self.odds(source, self.temperature(task))
        return [
            {"stars": float(row @ self.stars), "odds": dict(zip(map(stars_text, self.stars.tolist()), row.tolist()))}
            for row in odds
        ]


def _without(histories: Histories, items: np.ndarray) -> Histories:
    """Each history without one item; `items` i64[n], one per history."""
    keep = histories.items != items[histories.users]
    counts = np.bincount(histories.users[keep], minlength=histories.n_users)
    return Histories(np.concatenate([[0], np.cumsum(counts)]), histories.items[keep], histories.n_items)
