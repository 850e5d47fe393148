"""The vocabulary of a language model extended by new tokens that name users and items."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tokenizers
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from jaxrec.files import check_sums
from jaxrec.tokenizers.control_names import ControlNames
from jaxrec.types import Codes, DataError, IdTable

PAD, END = 0, 1
MULTIPLE = 128
"""The table is padded to this many rows: shardable over a mesh and friendly to matrix units."""
DIGIT = "{}"
"""A level of digits: its tokens are not new, the text tokenizer has them. All other levels are of new tokens."""
VECTOR = ""
"""A level of collaborative tokens, whose numbers follow the table's last row: no text and no answer holds them."""
PLACEHOLDER = "<Vector>"
"""The new token that an exported tokenizer reads where prompts have a collaborative token."""
BATCH = 10_000
"""User-written texts per call of the tokenizer."""
ANSWER = "<Answer>"
"""The token between prompt and answer of a decoder-only model."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A text tokenizer extended by new tokens.

    Padding is 0. A word that a tokenizer numbers 0 ("!" in LLaMA 3 and Qwen) is left out of texts.

    Attributes:
      tokenizer: a Hugging Face tokenizer that knows text and new tokens.
      new_tokens: names of the M new tokens, in order; their numbers are first_oov, first_oov + 1, ...
      first_oov: number of the first new token.
      size: V, rows of the embedding table: text, new tokens and padding.
    """

    tokenizer: PreTrainedTokenizerBase
    new_tokens: tuple[str, ...]
    first_oov: int
    size: int

    def encode(self, text: str) -> np.ndarray:
        """Tokens of a text without special tokens, i32[*]."""
        return self._tokens(text, add_special_tokens=False)

    def written(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Tokens of user-written texts, i32[*] each, in which ids, end of text and other special tokens are escaped.

        Names of such tokens get a space behind their first character, "< Item>", so that they are read as words. What a
        tokenizer makes into one all the same, as of letters that it takes for others, is left out. Every other text is
        encoded as by `encode`.

        Args:
          texts: any.
        """
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), BATCH):
            safe = [self._names.spaced(text) for text in texts[start : start + BATCH]]
            batch = self.tokenizer(safe, add_special_tokens=False, return_attention_mask=False)["input_ids"]
            tokens = np.fromiter(itertools.chain.from_iterable(batch), np.int32)
            row = np.repeat(np.arange(len(safe)), [len(ids) for ids in batch])
            kept = (tokens != PAD) & ~np.isin(tokens, self._names.numbers)
            rows += np.split(tokens[kept], np.cumsum(np.bincount(row[kept], minlength=len(safe)))[:-1])
        return rows

    @functools.cached_property
    def _names(self) -> ControlNames:
        return ControlNames.of(self.tokenizer)

    def prompt(self, text: str) -> np.ndarray:
        """Tokens of a prompt with special tokens, i32[*]: at the end for T5, at the start for LLaMA."""
        return self._tokens(text, add_special_tokens=True)

    @functools.cached_property
    def end(self) -> int:
        """The token that ends an answer."""
        end = self.tokenizer.eos_token_id
        assert isinstance(end, int), "the loaders of tokenizers refuse one without an end of text"
        return end

    @functools.cached_property
    def answer(self) -> int:
        """The token that a decoder-only model reads between prompt and answer.

        Raises:
          ValueError: it is none of the new tokens.
        """
        if ANSWER not in self.new_tokens:
            raise ValueError(f"{ANSWER} is not among the new tokens; a decoder-only model needs it")
        return self.first_oov + self.new_tokens.index(ANSWER)

    @property
    def item_prefix(self) -> int:
        """The token `<Item>`, the first of each item's id."""
        return self.first_oov + self.new_tokens.index("<Item>")

    def _tokens(self, text: str, *, add_special_tokens: bool) -> np.ndarray:
        tokens = np.asarray(self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"], np.int32)
        return tokens[tokens != PAD]

    def ids(self, prefix: str, codes: Codes) -> IdTable:
        """Rows of a prefix and the codes' tokens, `<Item><CT3><CI17>`, for codes i32[n,L].

        Args:
          prefix: "<User>" or "<Item>".
          codes: their levels say which tokens.
        """
        position = {name: self.first_oov + i for i, name in enumerate(self.new_tokens)}
        rows = np.empty((len(codes.values), 1 + len(codes.levels)), np.int32)
        rows[:, 0] = position[prefix]
        for place, (level, size) in enumerate(zip(codes.levels, codes.sizes, strict=True)):
            if level == VECTOR:
                rows[:, 1 + place] = self.size + codes.values[:, place]
                continue
            digits = self.tokenizer.convert_tokens_to_ids(_digits(size)) if level == DIGIT else None
            numbers = position[level.format(0)] + np.arange(size) if digits is None else np.array(digits)
            rows[:, 1 + place] = numbers[codes.values[:, place]]
        return IdTable(rows)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes a folder that `AutoTokenizer.from_pretrained` reads."""
        self.tokenizer.save_pretrained(folder)


def new_token_names(*tables: Codes, answer: bool = False) -> tuple[str, ...]:
    """`<User>`, `<Item>` and the tokens of every level of some codes, level by level; tables may share levels.

    Args:
      tables: codes of users and items.
      answer: whether `<Answer>` is wanted too, as by a decoder-only model.
    """
    levels = {level: size for codes in tables for level, size in zip(codes.levels, codes.sizes, strict=True)}
    levels.pop(DIGIT, None)
    first = ("<User>", "<Item>", ANSWER) if answer else ("<User>", "<Item>")
    return (*first, *(level.format(i) for level, size in levels.items() for i in range(size)))


def text_token_names(*tables: Codes) -> tuple[str, ...]:
    """The tokens of the text vocabulary that some codes consist of: the ten digits, or none."""
    return tuple(_digits(10)) if any(DIGIT in codes.levels for codes in tables) else ()


def _digits(size: int) -> list[str]:
    return [DIGIT.format(digit) for digit in range(size)]


def train_text_tokenizer(texts: Iterable[str], size: int = 2000, *, ends: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learned from `texts`, for runs without a pretrained one: no text is unknown to it.

    Args:
      texts: what it should be good at, the prompts for instance.
      size: tokens at most, among them `<pad>` = 0, `</s>` = 1, `<unk>` = 2 and 256 bytes.
      ends: whether it puts `</s>` behind a text, as T5's does and LLaMA's does not.
    """
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    if ends:
        bpe.post_processor = tokenizers.processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", END)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", clean_up_tokenization_spaces=False
    )


def safe_tokenizer(name: str | os.PathLike[str]) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, or of a hub name; code that it may bring along is neither run nor offered.

    Raises:
      OSError or ValueError: there is none, or it needs code of its own.
    """
    return AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def load_text_tokenizer(name: str | os.PathLike[str], *, decoder_only: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer in a local Hugging Face folder, or of a hub name.

    Args:
      name: the folder or name.
      decoder_only: whether it is for a decoder-only model, whose padding may be any number.
    Raises:
      ValueError: there is none, it has no end of text, or, for a T5, its padding is not 0 or its end of text not 1.
    """
    try:
        tokenizer = safe_tokenizer(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"no tokenizer at {str(name)!r}: give a local folder or a hub name ({error})") from error
    if decoder_only:
        if tokenizer.eos_token_id is None:
            raise ValueError(
                f"the tokenizer at {str(name)!r} has no end of text, with which answers end; set eos_token"
            )
        _check_around(tokenizer, name)
        return tokenizer
    if (tokenizer.pad_token_id, tokenizer.eos_token_id) != (PAD, END):
        raise ValueError(
            f"the tokenizer at {str(name)!r} pads with {tokenizer.pad_token_id} and ends with "
            f"{tokenizer.eos_token_id}; a T5 vocabulary has 0 and 1 there"
        )
    return tokenizer


def _check_around(tokenizer: PreTrainedTokenizerBase, name: str | os.PathLike[str]) -> None:
    """Looks at what a decoder-only model's tokenizer puts around a prompt, behind which the answer follows."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    if whole[len(whole) - len(bare) :] != bare:
        raise ValueError(
            f"the tokenizer at {str(name)!r} puts tokens behind a text, where the answer should follow; "
            "set add_eos_token to false in its tokenizer_config.json"
        )
    if PAD in whole[: len(whole) - len(bare)]:
        raise ValueError(f"the tokenizer at {str(name)!r} begins texts with token 0, which is padding here")


def extend(
    tokenizer: PreTrainedTokenizerBase, new_tokens: Sequence[str], table_rows: int = 0, *, single: Sequence[str] = ()
) -> Vocabulary:
    """Adds the new tokens behind a text tokenizer's own, each a single token wherever it stands.

    Args:
      tokenizer: a text tokenizer; it is extended in place.
      new_tokens: names, none of which the tokenizer knows yet.
      table_rows: rows of a pretrained embedding table. Where it has more than the tokenizer has tokens (T5 has
        32,128 for 32,100), the spare rows are given filler tokens first, so that no new token inherits one.
      single: tokens that the tokenizer has, to be single wherever they stand from now on: digits, in any number.
    Raises:
      ValueError: a new name is known already or stands twice, or one that is to be single is not known.
    """
    counts = collections.Counter(new_tokens)
    vocabulary = tokenizer.get_vocab()
    for name, count in counts.items():
        if name in vocabulary or count > 1:
            raise ValueError(f"new token {name!r} is known to the tokenizer or stands twice; start from a fresh one")
    missing = [name for name in single if name not in vocabulary]
    if missing:
        raise ValueError(
            f"the tokenizer has no token {missing[0]!r} of its own; choose ids of new tokens, ids.kind iid"
        )
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in single])
    fillers = [f"<unused{i}>" for i in range(max(0, table_rows - len(tokenizer)))]
    _add(tokenizer, fillers)
    first = len(tokenizer)
    _add(tokenizer, new_tokens)
    size = -(-len(tokenizer) // MULTIPLE) * MULTIPLE
    return Vocabulary(tokenizer, tuple(new_tokens), first, size)


def _add(tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> None:
    before = len(tokenizer)
    # lstrip: the space before an id is part of the id, so that neighbours never change a token.
    added: list[str | AddedToken] = [AddedToken(name, normalized=False, lstrip=True) for name in names]
    tokenizer.add_tokens(added)
    if len(tokenizer) != before + len(names):
        raise ValueError(f"added {len(names)} tokens, the tokenizer grew by {len(tokenizer) - before}")


def load(folder: str | os.PathLike[str], new_tokens: Sequence[str]) -> Vocabulary:
    """The inverse of `Vocabulary.save`.

    Raises:
      DataError: a file is missing or damaged, or the tokenizer does not hold these new tokens in a row.
    """
    remedy = "put it back, or delete the folder and give the run's train command again"
    folder = pathlib.Path(folder)
    if not (folder / "tokenizer.json").is_file():
        raise DataError(f"no tokenizer.json in {folder}, a run's tokenizer folder; {remedy}")
    try:
        check_sums(folder)
        tokenizer = safe_tokenizer(folder)
        numbers: Any = tokenizer.convert_tokens_to_ids(list(new_tokens))
    except DataError as error:
        raise DataError(f"{error}; {remedy}") from error
    except Exception as error:  # whatever tokenizers and transformers raise on damaged files
        raise DataError(f"the tokenizer in {folder} can't be read ({str(error)[:200]}); {remedy}") from error
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[-1] != len(tokenizer) - 1:
        raise DataError(f"the tokenizer in {folder} does not end with the new tokens of this run's ids; {remedy}")
    return Vocabulary(tokenizer, tuple(new_tokens), numbers[0], -(-len(tokenizer) // MULTIPLE) * MULTIPLE)
