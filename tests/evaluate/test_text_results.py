"""Ratings and texts are measured as their libraries and the definitions say, and stand beside the best baseline."""

import json

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from jaxrec.evaluate.bootstrap import paired_bootstrap
from jaxrec.evaluate.text_results import METRICS, TextResult, rating_metrics, text_report, text_table

TRUTH = ["The battery lasts very long .", "great sound, great price", "my dogs loved it", "ok"]
SAID = ["the battery lasts long .", "great price", "", "ok"]


def text_metrics(predicted: list[str], truth: list[str]) -> dict[str, float]:
    return TextResult.of_texts("review", "x", predicted, truth).metrics


def test_ratings_by_hand() -> None:
    actual = rating_metrics(np.array([3.0, 5.0, 1.0]), np.array([4.0, 5.0, 3.0]))
    assert actual == {"rmse": pytest.approx((5 / 3) ** 0.5), "mae": pytest.approx(1.0)}


def test_texts_by_hand() -> None:
    """One text of four tokens, three of them the reference's, in one pair: 3/4 and, by ROUGE-L, 3 of 4 in order."""
    actual = text_metrics(["a b c x"], ["a b c d"])
    assert actual["bleu-1"] == pytest.approx(75)
    assert actual["rouge-1"] == pytest.approx(75)
    assert actual["rouge-2"] == pytest.approx(100 * 2 / 3)
    assert actual["rouge-l"] == pytest.approx(75)
    short = text_metrics(["a b"], ["a b c d"])["bleu-1"]  # all right, half as long: the brevity penalty alone
    assert short == pytest.approx(100 * np.exp(1 - 4 / 2))
    assert text_metrics(["tests"], ["tested"])["rouge-1"] == pytest.approx(100)  # stems are compared


def test_texts_equal_the_libraries() -> None:
    actual = text_metrics(SAID, TRUTH)
    assert actual["bleu-4"] == pytest.approx(sacrebleu.corpus_bleu(SAID, [TRUTH]).score)
    unigram = sacrebleu.BLEU(max_ngram_order=1)
    assert actual["bleu-1"] == pytest.approx(unigram.corpus_score(SAID, [TRUTH]).score)
    assert str(unigram.get_signature()).startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp")
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for ours, theirs in (("rouge-1", "rouge1"), ("rouge-2", "rouge2"), ("rouge-l", "rougeL")):
        values = [scorer.score(target=t, prediction=s)[theirs].fmeasure for t, s in zip(TRUTH, SAID)]
        assert actual[ours] == pytest.approx(100 * sum(values) / len(values))
    assert 0 < actual["bleu-4"] < actual["bleu-1"] < 100


def test_the_same_texts_are_perfect_and_no_text_is_nothing() -> None:
    long = [text + " and so on it goes" for text in TRUTH]
    assert text_metrics(long, long) == pytest.approx(dict.fromkeys(METRICS[2:], 100))
    assert text_metrics([""], ["a good one"]) == dict.fromkeys(METRICS[2:], 0)


def test_clear_errors() -> None:
    with pytest.raises(ValueError, match="n > 0"):
        rating_metrics(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        rating_metrics(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="1 of 2 ratings are not finite"):
        rating_metrics(np.array([1, np.nan]), np.zeros(2))
    with pytest.raises(ValueError, match="at least one; got 0 and 0"):
        text_metrics([], [])
    with pytest.raises(ValueError, match="got 1 and 2"):
        TextResult.of_texts("review", "x", ["a"], ["a", "b"])


def results() -> list[TextResult]:
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 6, 80).astype(float)

    def stars(name: str, noise: float, baseline: bool) -> TextResult:
        return TextResult.of_stars("rating", name, truth + rng.normal(0, noise, 80), truth, baseline=baseline)

    return [
        stars("model", 0.5, False),
        stars("model, most likely", 2.0, False),
        stars("near", 1.0, True),
        stars("far", 3.0, True),
        TextResult.of_texts("review", "model", SAID, TRUTH, ms=1.2345),
        TextResult.of_texts("review", "same", ["ok"] * 4, TRUTH, baseline=True),
        TextResult.of_texts("review", "other", ["no"] * 4, TRUTH, baseline=True),
        TextResult.of_texts("explanation", "alone", SAID, TRUTH),
    ]


def test_rows_and_intervals() -> None:
    given = results()
    actual = text_report(given)
    assert json.loads(json.dumps(actual)) == actual
    assert [(r["task"], r["system"], r["baseline"], r["n"]) for r in actual["rows"][2:6]] == [
        ("rating", "near", True, 80),
        ("rating", "far", True, 80),
        ("review", "model", False, 4),
        ("review", "same", True, 4),
    ]
    assert actual["rows"][0]["rmse"] == pytest.approx(np.sqrt(given[0].values.mean()))
    assert actual["rows"][4]["rouge-l"] == pytest.approx(given[4].values.mean())
    assert actual["rows"][4]["ms"] == 1.234
    named = [(i["task"], i["system"], i["baseline"], i["metric"], i["n"]) for i in actual["intervals"]]
    assert named == [
        ("rating", "model", "near", "mse", 80),
        ("rating", "model, most likely", "near", "mse", 80),
        ("review", "model", "same", "rouge-l", 4),
    ]
    better, worse, _ = actual["intervals"]
    want = paired_bootstrap(given[0].values, given[2].values)
    assert (better["difference"], better["low"], better["high"]) == (want.difference, want.low, want.high)
    assert better["high"] < 0 < worse["low"]
    assert better["difference"] == pytest.approx(actual["rows"][0]["rmse"] ** 2 - actual["rows"][2]["rmse"] ** 2)


def test_the_table() -> None:
    actual = {"dataset": "toys", "protocol": "strict", "part": "test", "seed": 3, "texts": text_report(results())}
    lines = text_table(actual).splitlines()
    assert lines[0] == ("toys, strict protocol, test part, seed 3: ratings and texts, BLEU and ROUGE in percent")
    assert lines[2].split() == ["rating", "RMSE", "MAE", "events"]
    row = actual["texts"]["rows"][0]
    assert lines[3].split() == ["model", f"{row['rmse']:.4f}", f"{row['mae']:.4f}", "80"]
    assert len({len(line) for line in lines[2:7]}) == 1
    interval = actual["texts"]["intervals"][0]
    assert lines[7] == (
        f"model - near, mean squared error: {interval['difference']:+.4f} "
        f"[{interval['low']:+.4f}, {interval['high']:+.4f}], 95% paired bootstrap over 80 events"
    )
    head = next(line for line in lines if line.startswith("review"))
    assert head.split() == ["review", "BLEU-1", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L", "events"]
    assert lines[lines.index(head) + 1].split()[-1] == "4"
    assert "alone" in lines[-1]


def test_results_that_cannot_stand_together_are_refused() -> None:
    one = TextResult.of_texts("review", "model", SAID, TRUTH)
    with pytest.raises(ValueError, match="name a system twice: model, model"):
        text_report([one, one])
    with pytest.raises(ValueError, match=r"have \[1, 4\] events"):
        text_report([one, TextResult.of_texts("review", "few", ["a"], ["a"], baseline=True)])
