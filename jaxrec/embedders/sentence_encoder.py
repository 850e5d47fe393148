"""A frozen sentence encoder of the Hugging Face hub, run by PyTorch once for each text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxrec.progress import Progress

BATCH = 64
TOKENS = 256
"""Tokens of a text that are read."""


def encode_sentences(texts: Sequence[str], source: str) -> np.ndarray:
    """Means of the last hidden states over each text's tokens, f32[n,D] (Reimers and Gurevych 2019, section 3).

    Args:
      texts: to encode.
      source: folder, or name on the Hugging Face hub, of a model with a tokenizer: BERT's kind, or a T5, whose encoder
        is used. No code of it is run.
    Raises:
      ValueError: PyTorch is not installed, or the source can't be read.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise ValueError(
            f"texts.encoder={source!r} is a sentence encoder, which needs PyTorch: pip install torch, or take tfidf"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        model = AutoModel.from_pretrained(source, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"texts.encoder={source!r} can't be read as a sentence encoder ({reason}); give a "
            "folder with config.json, model.safetensors and a tokenizer, a name on the hub, or tfidf"
        ) from error
    model = (model.get_encoder() if model.config.is_encoder_decoder else model).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")  # texts of similar length share a batch
    rows: list[np.ndarray] = []
    with torch.no_grad(), Progress("sentence encoder", len(texts), unit="texts", quiet=10.0) as progress:
        for start in range(0, len(texts), BATCH):
            batch = [texts[n] for n in order[start : start + BATCH]]
            tokens = tokenizer(batch, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
            mask = tokens["attention_mask"]
            hidden = model(input_ids=tokens["input_ids"], attention_mask=mask).last_hidden_state
            mean = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
            rows.append(mean.float().numpy())
            progress.update(start + len(batch))
    return np.concatenate(rows)[np.argsort(order)]
