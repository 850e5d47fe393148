"""Blends: trained models mixed with each other and with counted baselines."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.api.messages import OnMessage, sending_messages_to
from jaxrec.api.recommendations import Recommendation, Recommendations
from jaxrec.api.results import Results
from jaxrec.api.run import TrainedRun
from jaxrec.inference import blend_lists
from jaxrec.inference.blends import BlendedParts
from jaxrec.studies.blend import make_blend


class Blend:
    """A log-linear blend, returned by `jaxrec.blend` and `jaxrec.load`; its folder names the folders of its parts.

    It serves the users and items of the runs' data; those of later updates are not in it.
    """

    def __init__(self, blended: BlendedParts) -> None:
        self._blended = blended

    @property
    def folder(self) -> pathlib.Path:
        """The blend's folder, with blend.json, results.json and ranks.npz."""
        return self._blended.folder

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight of each part by its name in tables, at least 0, of sum 1; one of weight 0 serves a re-ranker alone."""
        return self._blended.blend.named_weights

    @property
    def results(self) -> Results:
        """Metrics of the blend, of its trained parts alone, and of the counted baselines, on the test items."""
        return Results.read(self.folder / "results.json")

    def recommend(
        self,
        user: str | None = None,
        k: int = 10,
        *,
        history: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        allow: Sequence[str] | None = None,
        include_seen: bool | None = None,
        popular_if_unknown: bool = False,
    ) -> Recommendations:
        """The best k items for a user of the data, or for a new user with a given history.

        Items of the history are excluded, unless the runs' eval.mask_seen is off, and so are those of `exclude`.

        Args:
          user: name of a user of the data.
          k: number of items.
          history: names of a new user's items, oldest first, instead of `user`.
          exclude: names of items that are not to be recommended.
          allow: names of the only items that may be recommended; None: all.
          include_seen: whether items of the history may be recommended; None: unless eval.mask_seen is set.
          popular_if_unknown: for a user whose name is unknown, list the most popular items, labelled as such.
        Returns:
          At most k items, best first, with the share of each part in the item's score, see `Recommendation.shares`
          (with a re-ranker, in the score before it);
          where there are fewer than k, `note` says why.
        Raises:
          ValueError: both or neither of `user` and `history` are given, a user's or item's name is unknown, k is not
            between 1 and the number of items, or a part can't score users who are not in its data, as HGN.
        """
        shown, shares = blend_lists.recommend(
            self._blended,
            k,
            user=user,
            history=history,
            exclude=exclude,
            allow=allow,
            include_seen=include_seen,
            popular_if_unknown=popular_if_unknown,
        )
        data = self._blended.run.data
        items = [
            Recommendation(
                str(data.item_names[number]), str(data.titles()[number]), score, "", held_out, by_part or None
            )
            for number, (_, _, score, held_out), by_part in zip(shown.numbers, shown.items, shares, strict=True)
        ]
        return Recommendations(items, shown)

    def __repr__(self) -> str:
        weights = ", ".join(f"{weight:.2f} {name}" for name, weight in self.weights.items())
        return f"<{self._blended.name}: {weights}, in {self.folder}>"


def blend(
    parts: Sequence[TrainedRun | str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    users: int = 5000,
    rerank: bool = False,
    settings: Any = None,
    progress: OnMessage = None,
) -> Blend:
    """Mixes trained models and counted baselines: `jaxrec.blend([run, "transitions", "item-kNN"])`.

    The score of an item is the sum of w_m log p_m(item), with weights of at least 0 that sum to 1. p_m is a
    distribution over the catalogue:

    - of retrieval, exactly scored ids and trained baselines: the softmax of the scores divided by a temperature;
    - of counted baselines: (share + epsilon) / (1 + I epsilon), the share being the item's part of the sum of the
      baseline's scores over the I items;
    - of beam search: the probabilities of the listed items; what they lack to 1 is spread equally over the items that
      are not listed, of which each gets less than the last listed one.

    All that is chosen is chosen on validation items, of the same sample of users. Temperatures and epsilons minimise
    each part's negative log-likelihood. Parts that differ in the seed alone share a weight. Then weights maximise
    NDCG@10 of the full ranking, by coordinate ascent from the best part alone, in steps of 0.05 of the sum. Test items
    are not read before the results.

    With `rerank` a small network puts the blend's first 300 items in order, by the parts' log-probabilities and by
    further counts: what followed, preceded and accompanied the last items of the history in training. It is fitted to
    the validation items of all users; cross-validation over these users chooses its size, and whether there is one.

    Args:
      parts: two or more of trained runs, folders of runs or of trained baselines (`jaxrec baselines` leaves a folder
        NAME-SEED for each), and names: "popularity", "item-kNN", "transitions", or a trained baseline such as "sasrec",
        which is trained on the other parts' split, into `out`. At least one has data.
      out: folder for blend.json, results.json, ranks.npz and trained baselines; an earlier blend in it is replaced.
        None: runs/NAME_blend.
      users: maximum number of validation users to choose by, 0 = all; of a catalogue whose scores would exceed 1 GB,
        fewer.
      rerank: whether a re-ranker is fitted.
      settings: `BaselineSettings` of baselines that are trained; None: the defaults.
      progress: called with each message and progress line.
    Raises:
      ValueError: there are fewer than two parts, one is neither a folder nor a name or ranks no items, no part has
        data, parts have different data, splits, protocols or eval.mask_seen (the message names what differs), or `out`
        holds a run.
    """
    sources = [part._trained if isinstance(part, TrainedRun) else part for part in parts]
    with sending_messages_to(progress):
        return Blend(
            make_blend(
                sources, None if out is None else pathlib.Path(out), most_users=users, rerank=rerank, settings=settings
            )
        )
