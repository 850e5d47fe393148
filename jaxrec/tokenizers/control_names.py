"""Names of special tokens, and escaping them in user-written texts."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

_TAG = re.compile(r"<[^<>\s]{1,40}>")
_TAG_BEGINS = re.compile(r"<(?=([^<>\s]{1,40})>)")


@dataclasses.dataclass(frozen=True)
class ControlNames:
    """Names that a tokenizer reads as a single token wherever they occur in a text.

    Attributes:
      tags: names of the form <this>.
      others: a pattern that matches the first character of any other name; None if there is none.
      numbers: their token numbers, i32[*].
    """

    tags: frozenset[str]
    others: re.Pattern[str] | None
    numbers: np.ndarray

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> ControlNames:
        """Special tokens of a tokenizer and what was added to it.

        An added token of one character or of white space alone, a digit for instance, is text. So is what stands for
        unknown characters, though its name is none, unless it also begins, ends or pads.
        """
        vocabulary, special = tokenizer.get_vocab(), set(tokenizer.all_special_tokens)
        named = {name: vocabulary[name] for name in special if name in vocabulary}
        for number, token in tokenizer.added_tokens_decoder.items():
            if token.special or len(token.content.strip()) > 1:
                named[token.content] = number
        around = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token]
        unknown = None if tokenizer.unk_token in around else tokenizer.unk_token
        tags = frozenset(name for name in named if _TAG.fullmatch(name))
        shapes = [name for name in named if name not in tags and len(name) > 1]
        others = "|".join(re.escape(name[0]) + f"(?={re.escape(name[1:])})" for name in shapes)
        numbers = np.array([number for name, number in named.items() if name != unknown], np.int32)
        return cls(tags, re.compile(others) if others else None, numbers)

    def spaced(self, text: str) -> str:
        """The text with a space after the first character of each name."""
        if "<" in text:
            text = _TAG_BEGINS.sub(lambda match: "< " if f"<{match[1]}>" in self.tags else "<", text)
        return text if self.others is None else self.others.sub(r"\g<0> ", text)
