"""Evaluation of predicted ratings and texts: RMSE, MAE, BLEU and ROUGE, intervals, and a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from jaxrec.evaluate.bootstrap import LEVEL, paired_bootstrap

ERRORS = ("rmse", "mae")
"""Metrics of ratings, lower is better."""

METRICS = (*ERRORS, "bleu-1", "bleu-4", "rouge-1", "rouge-2", "rouge-l")
"""All metrics in the order of tables; those of texts in percent."""


def rating_metrics(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Root mean squared error and mean absolute error.

    Args:
      predicted: ratings, f64[n].
      truth: true ratings, f64[n].
    Returns:
      "rmse" and "mae", in the ratings' unit.
    Raises:
      ValueError: lengths differ, there is no rating, or one is not finite.
    """
    errors = _errors(predicted, truth)
    return {"rmse": float(np.sqrt(np.mean(np.square(errors)))), "mae": float(np.mean(np.abs(errors)))}


@dataclasses.dataclass(frozen=True)
class TextResult:
    """Metrics of one system on one task.

    Attributes:
      task: "rating", "explanation", ...
      system: its name in tables.
      metrics: by name, see `rating_metrics` and `of_texts`.
      values: compared event by event, f64[n]: the squared error of ratings, ROUGE-L of texts in percent.
      baseline: whether the system is a baseline.
      ms: milliseconds per answer, or None if not timed.
    """

    task: str
    system: str
    metrics: dict[str, float]
    values: np.ndarray
    baseline: bool = False
    ms: float | None = None

    @classmethod
    def of_stars(
        cls,
        task: str,
        system: str,
        predicted: np.ndarray,
        truth: np.ndarray,
        *,
        baseline: bool = False,
        ms: float | None = None,
    ) -> TextResult:
        """A result of ratings f64[n]; see `rating_metrics`."""
        values = np.square(_errors(predicted, truth))
        return cls(task, system, rating_metrics(predicted, truth), values, baseline, ms)

    @classmethod
    def of_texts(
        cls,
        task: str,
        system: str,
        predicted: Sequence[str],
        truth: Sequence[str],
        *,
        baseline: bool = False,
        ms: float | None = None,
    ) -> TextResult:
        """A result of n texts against n references, in percent; empty texts are allowed.

        BLEU is sacrebleu's of the corpus (Post 2018) with at most 1 and at most 4 tokens in a row, signature
        "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0". ROUGE is the mean over texts of rouge-score's F1
        (Lin 2004) with Porter stemming, of single tokens, of pairs, and of the longest common subsequence; it reads
        a-z and 0-9 alone.

        Raises:
          ValueError: the numbers of texts and references differ, or there is none.
        """
        rouge = _rouge(predicted, truth)
        metrics = _bleu(predicted, truth) | _means(rouge)
        return cls(task, system, metrics, rouge["rouge-l"], baseline, ms)

    @property
    def of_errors(self) -> bool:
        """Whether `values` are errors of ratings, for which lower is better."""
        return "rmse" in self.metrics

    def row(self) -> dict[str, Any]:
        """The row of results.json."""
        row = {"task": self.task, "system": self.system, "baseline": self.baseline, "n": len(self.values)}
        return row | self.metrics | ({} if self.ms is None else {"ms": round(self.ms, 3)})


def text_report(results: Sequence[TextResult]) -> dict[str, Any]:
    """Rows, and a comparison of every system with its task's best baseline.

    The best baseline has the lowest RMSE or the highest ROUGE-L. "intervals" are paired bootstraps over
    events, of the difference in mean squared error (metric "mse": below 0 the system is better) or in ROUGE-L.

    Args:
      results: in the order of the table.
    Returns:
      "rows" with task, system, baseline, n, metrics and, where known, ms, and "intervals" with task, system, baseline,
      metric, difference, low, high and n.
    Raises:
      ValueError: a system is repeated within a task, or systems of a task have different numbers of events.
    """
    by_task: dict[str, list[TextResult]] = {}
    for result in results:
        by_task.setdefault(result.task, []).append(result)
    intervals = []
    for task, task_results in by_task.items():
        names = [r.system for r in task_results]
        if len(set(names)) < len(names):
            raise ValueError(f"results of {task} name a system twice: {', '.join(names)}; give each its own name")
        sizes = {len(r.values) for r in task_results}
        if len(sizes) > 1 or len({r.of_errors for r in task_results}) > 1:
            raise ValueError(f"results of {task} have {sorted(sizes)} events; evaluate all systems on the same ones")
        intervals += _intervals(task_results)
    return {"rows": [r.row() for r in results], "intervals": intervals}


def text_table(report: Mapping[str, Any]) -> str:
    """Ratings and texts as aligned lines, task by task; the head names dataset, protocol and part.

    Args:
      report: the content of results.json: "dataset", "protocol", "part", "seed", and "texts" of `text_report`.
    """
    texts = report["texts"]
    rows, intervals = texts["rows"], texts["intervals"]
    lines = [
        f"{report['dataset']}, {report['protocol']} protocol, {report['part']} part, seed {report['seed']}: "
        "ratings and texts, BLEU and ROUGE in percent"
    ]
    if "events" in texts:
        lines.append(events_line(texts["events"]))
    if report["part"] == "valid":
        lines.append(
            "the validation events also selected the weights, the temperature, the biases' regulariser and MF's epoch"
        )
    for task in dict.fromkeys(row["task"] for row in rows):
        task_rows = [row for row in rows if row["task"] == task]
        metrics = [m for m in METRICS if m in task_rows[0]]
        width = max(len(task), *(len(row["system"]) for row in task_rows))
        lines += ["", f"{task:<{width}}" + "".join(f"{m.upper():>9}" for m in metrics) + f"{'events':>10}"]
        for row in task_rows:
            cells = "".join(f"{row[m]:>9.4f}" if m in ERRORS else f"{row[m]:>9.2f}" for m in metrics)
            lines.append(f"{row['system']:<{width}}{cells}{row['n']:>10,}")
        lines += [_interval_line(i) for i in intervals if i["task"] == task]
    return "\n".join(lines)


def events_line(events: Mapping[str, int]) -> str:
    """Numbers of training, validation and test events, and of those withheld from training by leave-one-out."""
    more = f" ({events['kept_out']:,} more are withheld by leave-one-out)" if events["kept_out"] else ""
    return (
        f"events split 80/10/10: {events['train']:,} train{more}, {events['valid']:,} validate, {events['test']:,} test"
    )


def _interval_line(interval: Mapping[str, Any]) -> str:
    digits = 4 if interval["metric"] == "mse" else 2
    name = "mean squared error" if interval["metric"] == "mse" else interval["metric"].upper()
    low, high = (f"{interval[end]:+.{digits}f}" for end in ("low", "high"))
    return (
        f"{interval['system']} - {interval['baseline']}, {name}: {interval['difference']:+.{digits}f} [{low}, {high}], "
        f"{LEVEL:.0%} paired bootstrap over {interval['n']:,} events"
    )


def _intervals(results: Sequence[TextResult]) -> list[dict[str, Any]]:
    """Comparisons of every system of one task with its best baseline; empty without baselines."""
    baselines = [r for r in results if r.baseline]
    if not baselines:
        return []
    best = min(baselines, key=lambda r: r.values.mean() if r.of_errors else -r.values.mean())
    intervals = []
    for result in results:
        if not result.baseline:
            measured = dataclasses.asdict(paired_bootstrap(result.values, best.values))
            measured["n"] = measured.pop("n_users")
            names = {"task": result.task, "system": result.system, "baseline": best.system}
            intervals.append({**names, "metric": "mse" if result.of_errors else "rouge-l", **measured})
    return intervals


def _errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != truth.shape or predicted.ndim != 1 or not len(truth):
        raise ValueError(f"ratings must be f64[n], n > 0, for both; got {predicted.shape} and {truth.shape}")
    errors = predicted - truth
    if not np.isfinite(errors).all():
        raise ValueError(f"{(~np.isfinite(errors)).sum()} of {len(errors)} ratings are not finite, predicted or true")
    return errors


def _bleu(predicted: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    _check(predicted, truth)
    # `force` silences the warning about tokenised texts, which these are not.
    return {
        f"bleu-{n}": float(BLEU(max_ngram_order=n, force=True).corpus_score(predicted, [truth]).score) for n in (1, 4)
    }


def _rouge(predicted: Sequence[str], truth: Sequence[str]) -> dict[str, np.ndarray]:
    """F1 of each text in percent, f64[n], by metric."""
    _check(predicted, truth)
    names = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}
    scorer = RougeScorer(list(names.values()), use_stemmer=True)
    scores = [scorer.score(reference, text) for text, reference in zip(predicted, truth)]
    return {name: np.array([100.0 * score[key].fmeasure for score in scores]) for name, key in names.items()}


def _means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(each.mean()) for name, each in values.items()}


def _check(predicted: Sequence[str], truth: Sequence[str]) -> None:
    if len(predicted) != len(truth) or not len(truth):
        raise ValueError(f"texts must be as many as references and at least one; got {len(predicted)} and {len(truth)}")
