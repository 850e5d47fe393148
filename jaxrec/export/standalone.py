"""Recommend with this exported model; needs torch, transformers and safetensors, nothing else.

python recommend.py --user NAME -k 10           for a user of users.tsv
python recommend.py --history NAME,NAME,NAME    for a new user: names in items.tsv, oldest first
python recommend.py --check                     recompute samples.json and compare with jaxrec
python recommend.py --base FOLDER ...           folder of the base model of an adapter
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import pathlib
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

FOLDER = pathlib.Path(__file__).resolve().parent
BATCH = 16
ESCAPES = {r"\t": "\t", r"\n": "\n", r"\r": "\r", r"\\": "\\"}
Ranked = list[tuple[int, float]]
"""Items (lines of items.tsv, from 0) with scores, best first."""


class Problem(Exception):
    """An error that the user can fix."""


class Exported:
    """An export: model, tokenizer, items and users.

    Args:
      folder: of the export.
      device: of the model, which computes in float32 whatever dtype is stored.
      base: folder or hub name of the base model of an adapter; default: the one that training started from.
    """

    def __init__(self, folder: pathlib.Path = FOLDER, device: str = "cpu", base: str | None = None) -> None:
        self.folder, self.device, self.base = folder, device, base
        self.about: dict[str, Any] = json.loads((folder / "jaxrec.json").read_text(encoding="utf-8"))
        if int(transformers.__version__.split(".")[0]) < self.about["transformers"]:
            raise Problem(f"transformers {transformers.__version__} is too old; {self.about['transformers']} is needed")
        self.items = read_tsv(folder / "items.tsv")
        self.users = read_tsv(folder / "users.tsv") if (folder / "users.tsv").is_file() else []
        transformers.logging.set_verbosity_error()  # untied tables are intended; `_model` reports missing weights
        transformers.logging.disable_progress_bar()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.decodes_only: bool = self.about["decoder_only"]
        self.model: Any = self._model()
        self.mention, self.vector_tokens = "mention" if self.about["vector_tokens"] else "id", None
        if self.about["vector_tokens"]:
            made = importlib.import_module("vector_tokens").VectorTokens
            self.vector_tokens: Any = made(folder, self.tokenizer, self.about["vocabulary"]["size"], device)
        if self.about["answer"] == "vector":
            self.vectors = load_file(folder / "items.safetensors", device)["items"]
            self.projection = load_file(folder / "projection.safetensors", device)
        else:
            self._lay_out_trie()

    def _model(self) -> Any:
        kind: Any = getattr(transformers, self.about["transformers_class"])
        if self.about["adapter"]:
            import peft  # needed for adapters only

            model = self._base(kind)
            model.resize_token_embeddings(self.about["vocabulary"]["size"], mean_resizing=False)
            with warnings.catch_warnings():  # peft uses a deprecated name of transformers
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
                model = peft.PeftModel.from_pretrained(model, str(self.folder)).get_base_model()
        else:
            model, loaded = kind.from_pretrained(
                self.folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
            mismatches = {kind: names for kind, names in loaded.items() if names}
            if mismatches:
                raise Problem(f"the weights do not match config.json: {mismatches}")
        return model.to(self.device).eval()

    def _base(self, kind: Any) -> Any:
        """The base model of an adapter, rounded to the dtype that it had in training."""
        base, shape = self.about["base"], self.about["shape"]
        path = self.base or (str(self.folder / "base") if base["kind"] == "random" else str(base["name"]))
        advice = "give --base FOLDER, the folder of the model that training started from"
        if base["kind"] == "folder" and not pathlib.Path(path).is_dir():
            raise Problem(f"the base model {path} is no folder here; {advice}")
        try:
            dtype = getattr(torch, self.about["lora"]["base_dtype"])
            model = kind.from_pretrained(path, dtype=dtype, trust_remote_code=False).float()
        except (OSError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise Problem(f"the base model {path} can't be loaded ({reason}); {advice}") from error
        if (model.config.hidden_size, model.config.num_hidden_layers) != (shape["d_model"], shape["layers"]):
            raise Problem(f"{path} is not the model that was adapted; {advice}")
        return model

    def _lay_out_trie(self) -> None:
        tokens = self.tokenizer([item["id"] for item in self.items], add_special_tokens=False)["input_ids"]
        begin = int(self.about["prompt_end"] == "<Item>")  # the prompt then ends with the first token of the answer
        self.rows = [tuple(row[begin:]) for row in tokens]
        self.item_of = {row: number for number, row in enumerate(self.rows)}
        if {len(row) for row in self.rows} != {self.about["id_tokens"]} or len(self.item_of) < len(self.rows):
            raise Problem("the tokenizer doesn't give every item of items.tsv its own id; export the run again")
        self.items_below = collections.Counter(prefix for row in self.rows for prefix in prefixes(row))
        self.children: dict[tuple[int, ...], list[int]] = {}
        for prefix in sorted(self.items_below):
            self.children.setdefault(prefix[:-1], []).append(prefix[-1])

    def history(self, user: int) -> list[int]:
        """The history of a user (line of users.tsv, from 0): items, oldest first."""
        return [int(item) for item in self.user(user)["history"].split()]

    def user(self, number: int) -> dict[str, str]:
        """A user's row of users.tsv; `number` counts from 0."""
        self.user_file("users.tsv")
        return self.users[number]

    def user_file(self, name: str) -> pathlib.Path:
        """Path of a file with users' names and histories.

        Raises:
          Problem: it is missing, as in most uploads.
        """
        if not (self.folder / name).is_file():
            advice = "ask the author" if self.about["users"] != "none" else "give --history of a new user"
            raise Problem(f"{name} is not here: it holds users' names and histories, which uploads leave out; {advice}")
        return self.folder / name

    def prompt(self, history: Sequence[int], user: int | None, task: str | None = None) -> str:
        """The prompt as text.

        Args:
          history: items, oldest first.
          user: line of users.tsv, from 0; None: a new user.
          task: one of those in jaxrec.json; None: the first.
        """
        tasks = self.about["tasks"]
        task = task or next(iter(tasks))
        if task not in tasks:
            raise Problem(f"task {task!r} is not one of this model's: {', '.join(tasks)}")
        prompt, user_id = tasks[task], ""
        if "{user}" in prompt["template"]:
            if user is None:
                raise Problem(
                    "prompts of this model hold an id or a vector of the user, which jaxrec makes of a history: "
                    "python -m launch.recommend RUN --history ...; here, give --user NAME of users.tsv"
                )
            user_id = self.user(user)[self.mention]
        if "{history}" in prompt["template"] and not history:
            raise Problem("no history is known; give --history with at least one item")
        items = list(history)[-prompt["max_history"] :] if prompt["max_history"] else []
        if prompt["shuffled"]:
            items = shuffled(items, user or 0)
        return prompt["template"].format(user=user_id, history=" ".join(self.items[i][self.mention] for i in items))

    def prompt_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts."""
        whole = [text + self.about["prompt_end"] for text in texts]
        return self.vector_tokens.tokens(whole) if self.vector_tokens else self.tokenizer(whole)["input_ids"]

    @torch.no_grad()
    def recommend(self, texts: Sequence[str], seen: Sequence[Sequence[int]], k: int) -> list[Ranked]:
        """The best k items for each prompt, without the `seen` items of each."""
        rank = self._by_vector if self.about["answer"] == "vector" else self._by_id
        tokens, ranked = self.prompt_tokens(texts), []
        for begin in range(0, len(texts), BATCH):
            part = slice(begin, begin + BATCH)
            ranked += rank(*self._padded(tokens[part]), [set(items) for items in seen[part]], k)
        return ranked

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask, i64[B,S]; padded on the left for a decoder-only model, else on the right."""
        width = max(map(len, rows))
        pads = [[0] * (width - len(row)) for row in rows]
        order = (lambda pad, row: pad + row) if self.decodes_only else (lambda pad, row: row + pad)
        tokens = torch.tensor([order(pad, row) for pad, row in zip(pads, rows)], device=self.device)
        mask = [order(pad, [1] * len(row)) for pad, row in zip(pads, rows)]
        return tokens, torch.tensor(mask, device=self.device)

    def _by_id(self, tokens: torch.Tensor, mask: torch.Tensor, seen: list[set[int]], k: int) -> list[Ranked]:
        """Beam search constrained to item ids; a score is the log-probability of the id."""
        seen_below = [collections.Counter(p for item in items for p in prefixes(self.rows[item])) for items in seen]
        inputs, beams = {"input_ids": tokens, "attention_mask": mask}, max(self.about["beams"], k)
        if self.vector_tokens:
            inputs = self.vector_tokens.inputs(self.model if self.decodes_only else self.model.encoder, tokens, mask)
        skip = 1 if not self.decodes_only else 0 if self.vector_tokens else tokens.shape[1]  # what is not generated

        def allowed(user: int, sequence: torch.Tensor) -> list[int]:
            generated = tuple(sequence[skip:].tolist())
            extended = ((*generated, token) for token in self.children.get(generated, ()))
            # A token whose items are all seen is excluded. A beam without a next token scores -inf; it may take any.
            return [prefix[-1] for prefix in extended if self.items_below[prefix] > seen_below[user][prefix]] or [1]

        output: Any = self.model.generate(
            **inputs,
            prefix_allowed_tokens_fn=allowed,
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=self.about["id_tokens"],
            length_penalty=0.0,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        rows = output.sequences[:, skip : skip + self.about["id_tokens"]].tolist()
        lists: list[dict[int, float]] = [{} for _ in seen]
        for position, (row, score) in enumerate(zip(rows, output.sequences_scores.tolist())):
            item, user = self.item_of.get(tuple(row), -1), position // beams
            if item >= 0 and item not in seen[user] and score > -1e8:
                lists[user].setdefault(item, score)
        return [list(ranked.items())[:k] for ranked in lists]

    def _by_vector(self, tokens: torch.Tensor, mask: torch.Tensor, seen: list[set[int]], k: int) -> list[Ranked]:
        """Retrieval by the model's output vector; a score is the cosine similarity."""
        decoder_input = torch.tensor(self.about["decoder_tokens"], device=self.device).expand(len(tokens), -1)
        if self.decodes_only:  # the prompt already ends with the first of these tokens
            tokens = torch.cat([tokens, decoder_input[:, 1:]], dim=1)
            mask = torch.cat([mask, torch.ones_like(decoder_input[:, 1:])], dim=1)
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            hidden = self.model.model(input_ids=tokens, attention_mask=mask, position_ids=positions).last_hidden_state
            hidden = hidden[:, -decoder_input.shape[1] :]
        else:
            encoded = self.model.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
            hidden = self.model.decoder(
                input_ids=decoder_input, encoder_hidden_states=encoded, encoder_attention_mask=mask
            ).last_hidden_state
        z = hidden.flatten(1) if self.about["pooling"] == "flatten" else hidden.mean(1)
        for layer in ("first", "second", "third"):
            z = z @ self.projection[f"{layer}.weight"].T + self.projection[f"{layer}.bias"]
            z = z if layer == "third" else z.relu()
        scores = torch.nn.functional.normalize(z, dim=1) @ self.vectors.T
        scores[:, ~self.vectors.any(dim=1)] = -torch.inf  # items without events
        for row, items in enumerate(seen):
            scores[row, list(items)] = -torch.inf
        best = scores.topk(min(k, len(self.items)))
        pairs = zip(best.indices.tolist(), best.values.tolist())
        return [[(i, s) for i, s in zip(*pair) if s > -torch.inf] for pair in pairs]


def prefixes(row: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All non-empty prefixes, shortest first."""
    return [row[:n] for n in range(1, len(row) + 1)]


def read_tsv(file: pathlib.Path) -> list[dict[str, str]]:
    """Rows of a tab-separated file with a header, as dicts; tabs, line ends and backslashes are escaped."""
    head, *lines = file.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    names = head.split("\t")
    rows = (dict(zip(names, line.split("\t"), strict=True)) for line in lines)
    return [{n: re.sub(r"\\[tnr\\]", lambda m: ESCAPES[m[0]], v) for n, v in row.items()} for row in rows]


def shuffled(items: list[int], draw: int) -> list[int]:
    """A history in jaxrec's shuffled order, which depends on the user's number `draw`, by splitmix64."""
    return [items[i] for i in sorted(range(len(items)), key=lambda i: _mixed(_mixed(draw) + i))]


def _mixed(x: int) -> int:
    mask = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def check(exported: Exported) -> bool:
    """Recomputes samples.json and prints the difference to jaxrec's lists; returns whether it is within tolerance."""
    stored = json.loads(exported.user_file("samples.json").read_text(encoding="utf-8"))
    samples, tolerance = stored["samples"], stored["tolerance"]
    lines = [sample["line"] for sample in samples]
    texts = [exported.prompt(exported.history(line), line) for line in lines]
    same_prompts = texts == [sample["prompt"] for sample in samples]
    same_prompts = same_prompts and exported.prompt_tokens(texts) == [sample["tokens"] for sample in samples]
    ranked = exported.recommend(texts, [sample["seen"] for sample in samples], stored["k"])
    max_difference, equal, unexplained = 0.0, 0, 0
    for sample, listed in zip(samples, ranked):
        expected, actual = dict(zip(sample["items"], sample["scores"])), dict(listed)
        equal += list(expected) == list(actual)
        differences = (abs(expected[item] - actual[item]) for item in expected.keys() & actual.keys())
        max_difference = max([max_difference, *differences])
        # An item may be in only one of the lists if its score ties with the lowest of the other list.
        for scores, other in ((expected, actual), (actual, expected)):
            lowest = min(other.values(), default=float("inf"))
            unexplained += sum(not abs(scores[item] - lowest) <= tolerance for item in scores.keys() - other.keys())
    agreed = same_prompts and max_difference <= tolerance and not unexplained
    print(
        f"{len(samples)} users, lists of {stored['k']}: {equal} lists are jaxrec's, item by item; scores differ by at "
        f"most {max_difference:.1e} (allowed {tolerance:.0e}), {unexplained} items are in one list only without a tie; "
        f"prompts are {'the same' if same_prompts else 'OTHERS'}: {'agreed' if agreed else 'NOT AGREED'}"
    )
    return agreed


def main() -> None:
    """Prints recommendations, or checks the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--user", help="a name in users.tsv")
    parser.add_argument("--history", help="names in items.tsv, oldest first, comma-separated")
    parser.add_argument("-k", type=int, default=10, help="how many items")
    parser.add_argument("--task", help="one of jaxrec.json's; default the first")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--base", help="folder of the base model of an adapter; default: what training started from")
    parser.add_argument("--check", action="store_true", help="compare with samples.json")
    arguments = parser.parse_args()
    try:
        exported = Exported(device=arguments.device, base=arguments.base)
        if arguments.check:
            sys.exit(0 if check(exported) else 1)
        show(exported, arguments)
    except Problem as problem:
        sys.exit(f"error: {problem}")


def show(exported: Exported, arguments: argparse.Namespace) -> None:
    """Prints the prompt and the recommendations for one user."""
    items, k = exported.items, arguments.k
    if arguments.user is None and arguments.history is None:
        raise Problem("give --user NAME or --history a,b,c, or --check")
    if not 1 <= k <= len(items):
        raise Problem(f"-k {k} is not between 1 and the {len(items)} items")
    user = None
    if arguments.user is not None:
        exported.user_file("users.tsv")
        user = _number(exported.users, arguments.user, "user")
    history = [] if user is None else exported.history(user)
    if arguments.history is not None:
        history = [_number(items, name.strip(), "item") for name in arguments.history.split(",")]
    text = exported.prompt(history, user, arguments.task)
    ranked = exported.recommend([text], [history if exported.about["mask_seen"] else []], k)[0]
    print(text)
    for item, score in ranked:
        print(f"{score:9.4f}  {items[item]['id']}  {items[item]['title']} ({items[item]['name']})")


def _number(rows: list[dict[str, str]], name: str, what: str) -> int:
    for number, row in enumerate(rows):
        if row["name"] == name:
            return number
    raise Problem(f"{what} {name!r} is not in {what}s.tsv; names look like: {', '.join(r['name'] for r in rows[:3])}")


if __name__ == "__main__":
    main()
