"""Recommend with this exported model; needs torch, transformers and safetensors, nothing else.

python recommend.py --user NAME -k 10           somebody of users.tsv
python recommend.py --history NAME,NAME,NAME    somebody new, by names of items.tsv, oldest first
python recommend.py --check                     samples.json computed again, compared with what jaxrec found
python recommend.py --base FOLDER ...           where the base model lies that an adapter was trained on
"""

from __future__ import annotations

import argparse
import collections
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
    """What a user can do something about."""


class Exported:
    """The folder's model, tokenizer, items and users.

    Args:
      folder: what jaxrec exported.
      device: where the model computes; in float32, however it is stored.
      base: folder or hub name of the model that an adapter adapts; default: what training started from.
    """

    def __init__(self, folder: pathlib.Path = FOLDER, device: str = "cpu", base: str | None = None) -> None:
        self.folder, self.device, self.base = folder, device, base
        self.about: dict[str, Any] = json.loads((folder / "jaxrec.json").read_text(encoding="utf-8"))
        if int(transformers.__version__.split(".")[0]) < self.about["transformers"]:
            raise Problem(f"transformers {transformers.__version__} is too old; {self.about['transformers']} is needed")
        self.items = read_tsv(folder / "items.tsv")
        self.users = read_tsv(folder / "users.tsv") if (folder / "users.tsv").is_file() else []
        transformers.logging.set_verbosity_error()  # that tables aren't tied is meant; what is missing, `_model` tells
        transformers.logging.disable_progress_bar()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.decodes_only: bool = self.about["decoder_only"]
        self.model: Any = self._model()
        if self.about["answer"] == "vector":
            self.vectors = load_file(folder / "items.safetensors", device)["items"]
            self.projection = load_file(folder / "projection.safetensors", device)
        else:
            self._lay_out_trie()

    def _model(self) -> Any:
        kind: Any = getattr(transformers, self.about["transformers_class"])
        if self.about["adapter"]:
            import peft  # an adapter alone needs it

            model = self._base(kind)
            model.resize_token_embeddings(self.about["vocabulary"]["size"], mean_resizing=False)
            with warnings.catch_warnings():  # peft asks transformers something by an old name
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
                model = peft.PeftModel.from_pretrained(model, str(self.folder)).get_base_model()
        else:
            model, loaded = kind.from_pretrained(self.folder, dtype=torch.float32, output_loading_info=True)
            wrong = {what: names for what, names in loaded.items() if names}
            if wrong:
                raise Problem(f"the weights are not those of config.json: {wrong}")
        return model.to(self.device).eval()

    def _base(self, kind: Any) -> Any:
        """What the adapter adapts, rounded as it was in training."""
        base, shape = self.about["base"], self.about["shape"]
        place = self.base or (str(self.folder / "base") if base["kind"] == "random" else str(base["name"]))
        advice = "give --base FOLDER, the folder of the model that training started from"
        if base["kind"] == "folder" and not pathlib.Path(place).is_dir():
            raise Problem(f"the base model {place} is no folder here; {advice}")
        try:
            model = kind.from_pretrained(place, dtype=getattr(torch, self.about["lora"]["base_dtype"])).float()
        except (OSError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise Problem(f"the base model {place} can't be loaded ({reason}); {advice}") from error
        if (model.config.hidden_size, model.config.num_hidden_layers) != (shape["d_model"], shape["layers"]):
            raise Problem(f"{place} is not the model that was adapted; {advice}")
        return model

    def _lay_out_trie(self) -> None:
        tokens = self.tokenizer([item["id"] for item in self.items], add_special_tokens=False)["input_ids"]
        self.rows = [tuple(row) for row in tokens]
        self.item_of = {row: number for number, row in enumerate(self.rows)}
        if {len(row) for row in self.rows} != {self.about["id_tokens"]} or len(self.item_of) < len(self.rows):
            raise Problem("the tokenizer doesn't give every item of items.tsv an id of its own; is the folder whole?")
        self.below = collections.Counter(prefix for row in self.rows for prefix in prefixes(row))
        self.children: dict[tuple[int, ...], list[int]] = {}
        for prefix in sorted(self.below):
            self.children.setdefault(prefix[:-1], []).append(prefix[-1])

    def history(self, user: int) -> list[int]:
        """What the user of this line of users.tsv is known to have had, oldest first."""
        return [int(item) for item in self.user(user)["history"].split()]

    def user(self, number: int) -> dict[str, str]:
        """A line of users.tsv, from 0."""
        self.of_users("users.tsv")
        return self.users[number]

    def of_users(self, name: str) -> pathlib.Path:
        """A file with users' names and histories, which an upload may leave out."""
        if not (self.folder / name).is_file():
            asks = "ask whoever exported this" if self.about["users"] != "none" else "--history asks for somebody new"
            raise Problem(f"{name} is not here: it holds users' names and histories, which uploads leave out; {asks}")
        return self.folder / name

    def prompt(self, history: Sequence[int], user: int | None, task: str | None = None) -> str:
        """What the model is asked, as text.

        Args:
          history: items, oldest first.
          user: line of users.tsv, from 0; None: somebody new.
          task: one of jaxrec.json; default its first.
        """
        tasks = self.about["tasks"]
        task = task or next(iter(tasks))
        if task not in tasks:
            raise Problem(f"task {task!r} is not one of this model's: {', '.join(tasks)}")
        prompt, identity = tasks[task], ""
        if "{user}" in prompt["template"]:
            if user is None:
                raise Problem(
                    "prompts of this model hold an id of the user, which jaxrec makes of a newcomer's history: "
                    "python -m launch.recommend RUN --history ...; here, --user NAME of users.tsv can be given"
                )
            identity = self.user(user)["id"]
        if "{history}" in prompt["template"] and not history:
            raise Problem("no history is known; give --history with at least one item")
        items = list(history)[-prompt["max_history"] :] if prompt["max_history"] else []
        if prompt["shuffled"]:
            items = shuffled(items, user or 0)
        return prompt["template"].format(user=identity, history=" ".join(self.items[i]["id"] for i in items))

    def prompt_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Prompts as the model reads them."""
        return self.tokenizer([text + self.about["prompt_end"] for text in texts])["input_ids"]

    @torch.no_grad()
    def recommend(self, texts: Sequence[str], seen: Sequence[Sequence[int]], k: int) -> list[Ranked]:
        """The best k items for each prompt, without those seen."""
        answer = self._by_vector if self.about["answer"] == "vector" else self._by_id
        tokens, ranked = self.prompt_tokens(texts), []
        for begin in range(0, len(texts), BATCH):
            part = slice(begin, begin + BATCH)
            ranked += answer(*self._padded(tokens[part]), [set(items) for items in seen[part]], k)
        return ranked

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask, i64[B,S]: padded on the left where the answer follows in the same sequence."""
        width = max(map(len, rows))
        empty = [[0] * (width - len(row)) for row in rows]
        order = (lambda pad, row: pad + row) if self.decodes_only else (lambda pad, row: row + pad)
        tokens = torch.tensor([order(pad, row) for pad, row in zip(empty, rows)], device=self.device)
        mask = [order(pad, [1] * len(row)) for pad, row in zip(empty, rows)]
        return tokens, torch.tensor(mask, device=self.device)

    def _by_id(self, tokens: torch.Tensor, mask: torch.Tensor, seen: list[set[int]], k: int) -> list[Ranked]:
        """Beam search over the items' ids; a score is the sum of the tokens' log-probabilities."""
        closed = [collections.Counter(p for item in items for p in prefixes(self.rows[item])) for items in seen]
        skip, beams = tokens.shape[1] if self.decodes_only else 1, max(self.about["beams"], k)

        def allowed(user: int, sequence: torch.Tensor) -> list[int]:
            said = tuple(sequence[skip:].tolist())
            below = ((*said, token) for token in self.children.get(said, ()))
            # A token is left out once all items below it are seen. Beams that stand nowhere score -inf: say anything.
            return [prefix[-1] for prefix in below if self.below[prefix] > closed[user][prefix]] or [1]

        output: Any = self.model.generate(
            input_ids=tokens,
            attention_mask=mask,
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
        for place, (row, score) in enumerate(zip(rows, output.sequences_scores.tolist())):
            item, user = self.item_of.get(tuple(row), -1), place // beams
            if item >= 0 and item not in seen[user] and score > -1e8:
                lists[user].setdefault(item, score)
        return [list(ranked.items())[:k] for ranked in lists]

    def _by_vector(self, tokens: torch.Tensor, mask: torch.Tensor, seen: list[set[int]], k: int) -> list[Ranked]:
        """The items nearest to the vector that the model answers with; a score is a cosine."""
        fed = torch.tensor(self.about["decoder_tokens"], device=self.device).expand(len(tokens), -1)
        if self.decodes_only:  # the prompt ends with the first of these tokens already
            tokens = torch.cat([tokens, fed[:, 1:]], dim=1)
            mask = torch.cat([mask, torch.ones_like(fed[:, 1:])], dim=1)
            places = (mask.cumsum(1) - 1).clamp(min=0)
            hidden = self.model.model(input_ids=tokens, attention_mask=mask, position_ids=places).last_hidden_state
            hidden = hidden[:, -fed.shape[1] :]
        else:
            encoded = self.model.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
            hidden = self.model.decoder(
                input_ids=fed, encoder_hidden_states=encoded, encoder_attention_mask=mask
            ).last_hidden_state
        z = hidden.flatten(1) if self.about["pooling"] == "flatten" else hidden.mean(1)
        for layer in ("first", "second", "third"):
            z = z @ self.projection[f"{layer}.weight"].T + self.projection[f"{layer}.bias"]
            z = z if layer == "third" else z.relu()
        scores = torch.nn.functional.normalize(z, dim=1) @ self.vectors.T
        scores[:, ~self.vectors.any(dim=1)] = -torch.inf  # nothing is known of these items
        for row, items in enumerate(seen):
            scores[row, list(items)] = -torch.inf
        best = scores.topk(min(k, len(self.items)))
        pairs = zip(best.indices.tolist(), best.values.tolist())
        return [[(i, s) for i, s in zip(*pair) if s > -torch.inf] for pair in pairs]


def prefixes(row: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The first token, the first two, ..., all of them."""
    return [row[:n] for n in range(1, len(row) + 1)]


def read_tsv(file: pathlib.Path) -> list[dict[str, str]]:
    """Lines as dicts by the names in the first line; tabs, line ends and backslashes stand escaped."""
    head, *lines = file.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    names = head.split("\t")
    rows = (dict(zip(names, line.split("\t"), strict=True)) for line in lines)
    return [{n: re.sub(r"\\[tnr\\]", lambda m: ESCAPES[m[0]], v) for n, v in row.items()} for row in rows]


def shuffled(items: list[int], draw: int) -> list[int]:
    """The order in which jaxrec shows a shuffled history: a function of the user's number, by splitmix64."""
    return [items[place] for place in sorted(range(len(items)), key=lambda place: _mixed(_mixed(draw) + place))]


def _mixed(x: int) -> int:
    whole = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & whole
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & whole
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & whole
    return x ^ (x >> 31)


def check(exported: Exported) -> bool:
    """Computes samples.json again and says how far it is from what jaxrec found; whether that is near enough."""
    stored = json.loads(exported.of_users("samples.json").read_text(encoding="utf-8"))
    samples, tolerance = stored["samples"], stored["tolerance"]
    lines = [sample["line"] for sample in samples]
    texts = [exported.prompt(exported.history(line), line) for line in lines]
    same = texts == [sample["prompt"] for sample in samples]
    same = same and exported.prompt_tokens(texts) == [sample["tokens"] for sample in samples]
    ranked = exported.recommend(texts, [sample["seen"] for sample in samples], stored["k"])
    furthest, equal, strange = 0.0, 0, 0
    for sample, listed in zip(samples, ranked):
        wanted, got = dict(zip(sample["items"], sample["scores"])), dict(listed)
        equal += list(wanted) == list(got)
        furthest = max([furthest, *(abs(wanted[item] - got[item]) for item in wanted.keys() & got.keys())])
        # An item may stand in one list alone only where it ties with the other list's last.
        for one, other in ((wanted, got), (got, wanted)):
            last = min(other.values(), default=float("inf"))
            strange += sum(not abs(one[item] - last) <= tolerance for item in one.keys() - other.keys())
    good = same and furthest <= tolerance and not strange
    print(
        f"{len(samples)} users, lists of {stored['k']}: {equal} lists are jaxrec's, item by item; scores differ by at "
        f"most {furthest:.1e} (allowed {tolerance:.0e}), {strange} items stand in one list without a tie; "
        f"prompts are {'the same' if same else 'OTHERS'}: {'agreed' if good else 'NOT AGREED'}"
    )
    return good


def main() -> None:
    """Prints recommendations, or checks the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--user", help="a name in users.tsv")
    parser.add_argument("--history", help="names in items.tsv, oldest first, with commas between")
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
        exported.of_users("users.tsv")
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
