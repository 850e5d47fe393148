"""Token ids of whole histories, in which a decoder-only model predicts every item after the first."""

from __future__ import annotations

import numpy as np

from jaxrec.config import TaskConfig
from jaxrec.tasks.augmentation import AugmentedPieces
from jaxrec.tasks.pieces import cut
from jaxrec.tasks.ragged import ragged_take
from jaxrec.tasks.ranking_examples import Prompts
from jaxrec.tasks.templates import templates
from jaxrec.tokenizers.vocabulary import Vocabulary
from jaxrec.types import Histories


class AutoregressiveExamples:
    """One example per piece of a history: prompt and first item, and the further items as one answer.

    With ids of `<Item>` and L codes, the source is `the user chose <Item> a_1 .. a_L`, and the target `b_1 .. b_L
    <Item> c_1 .. c_L ...`, preceded by the model's start token `<Item>`. So a history reads in training as a prompt and
    its answer do in recommendation, and one pass over it has a target for every item.

    Implements the `Examples` that `jaxrec.data.packing.packed` reads.

    Args:
      vocabulary: text and new tokens.
      item_tokens: i32[I, 1+L].
      histories: training histories.
      user_tokens: i32[U, 1+L], or None = no user ids.
      task: `max_history` is the number of targets of a piece; a longer history is cut from its end. `augment` varies
        the pieces.
      seed: of the augmentation.
      member: number of the ensemble's member that learns from the examples; each gets an augmentation of its own.
    Raises:
      ValueError: no user has two events.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        item_tokens: np.ndarray,
        histories: Histories,
        user_tokens: np.ndarray | None,
        *,
        task: TaskConfig,
        seed: int = 0,
        member: int = 0,
    ) -> None:
        self.prompts = Prompts.make(vocabulary, templates("autoregressive"), item_tokens, histories, user_tokens)
        self.pieces = cut(histories, task.max_history)
        self._augmented = AugmentedPieces(self.pieces, task.augment, seed, f"augmentation of member {member}")

    def __len__(self) -> int:
        return len(self.pieces.user)

    def lengths(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target lengths of every example in an epoch, i64[n] each."""
        n, (_, offsets) = len(self), self._augmented.events(epoch)
        source = self.prompts.sizes(np.zeros(n, np.int32), np.ones(n, np.int64))
        return source, (np.diff(offsets) - 1) * self.prompts.item_width - 1

    def build(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source values and offsets, target values and offsets of some examples."""
        events, offsets = self._augmented.events(epoch)
        first, targets = offsets[indices], np.diff(offsets)[indices] - 1
        n, width = len(indices), self.prompts.item_width
        prompts = events[first], np.arange(n + 1)
        source = self.prompts.splice(np.zeros(n, np.int32), self.pieces.user[indices], prompts)
        of_targets, ends = ragged_take(events, first + 1, targets)
        tokens = self.prompts.pool[self.prompts.event_start + of_targets[:, None] * width + np.arange(width)].ravel()
        # The prefix of an example's first target is the start token.
        return *source, np.delete(tokens, ends[:-1] * width), ends * width - np.arange(n + 1)
