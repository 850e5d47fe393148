"""Prompts of this model name users and items by their collaborative vectors, too; recommend.py reads them by this file.

In the text of a prompt such a name is <Vector:i17>, line 17 (from 0) of items.tsv, or <Vector:u5> of users.tsv. The
tokenizer reads it as <Vector>, and in place of that token's embedding the model gets row 17 of item_vectors.safetensors
or row 5 of user_vectors.safetensors, which hold embeddings made of the vectors. A row of zeros is that of somebody
without events, to whom the model does not attend; so are all users where uploads leave their file out.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import load_file

NAME = re.compile(r"<Vector:([iu])(\d+)>")
KINDS = "iu"
STRIDE = 3
"""Tokens count item 0, user 0, a user who is not here, item 1, ...; from the vocabulary's size on."""


class VectorTokens:
    """Tokens and embeddings of such prompts.

    Args:
      folder: of the export.
      tokenizer: of the export.
      size: of the vocabulary.
      device: of the model.
    """

    def __init__(self, folder: pathlib.Path, tokenizer: Any, size: int, device: str) -> None:
        self.tokenizer, self.size = tokenizer, size
        self.placeholder: int = tokenizer.convert_tokens_to_ids("<Vector>")
        files = [folder / "item_vectors.safetensors", folder / "user_vectors.safetensors"]
        self.rows = [load_file(file, device)["vectors"] if file.is_file() else None for file in files]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, with a number from `size` on for each name."""
        rows = self.tokenizer([NAME.sub("<Vector>", text) for text in texts])["input_ids"]
        for text, row in zip(texts, rows):
            names = [self.size + STRIDE * int(number) + KINDS.index(kind) for kind, number in NAME.findall(text)]
            places = [place for place, token in enumerate(row) if token == self.placeholder]
            for place, token in zip(places, names, strict=True):
                row[place] = token
        return rows

    def inputs(self, model: Any, tokens: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """What a model or its encoder reads of padded tokens i64[B,S]: embeddings f32[B,S,D] and a mask i64[B,S]."""
        is_name = tokens >= self.size
        number = torch.where(is_name, tokens - self.size, -1)
        embedded = model.get_input_embeddings()(torch.where(is_name, 0, tokens)).clone()
        embedded[is_name] = 0
        for kind, rows in enumerate(self.rows):
            of_kind = is_name & (number % STRIDE == kind)
            if rows is not None:
                embedded[of_kind] = rows[number[of_kind] // STRIDE]
        there = ~is_name | embedded.any(dim=-1)
        return {"inputs_embeds": embedded, "attention_mask": mask * there}
