"""The model card (README.md) of an export: description, usage, results, files and limitations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jaxrec.evaluate.results_table import results_table
from jaxrec.evaluate.text_results import text_table
from jaxrec.text import printable

PIPELINES = {"id": "text-generation", "vector": "feature-extraction"}
ANSWERS = {
    "id": "It generates the id of an item, token by token; beam search is constrained to the ids of items.",
    "vector": "It outputs a vector; the items whose vectors have the highest cosine similarity are recommended.",
}
USERS = {
    "static": "a user id, computed from the user's training events",
    "causal": "a user id, computed from the user's history (in users.tsv: the current one)",
    "none": "no user id",
    "vector": "an embedding of the user's collaborative vector",
}


def card(
    about: Mapping[str, Any],
    results: Mapping[str, Any] | None,
    *,
    name: str,
    example: Mapping[str, Any],
) -> str:
    """The model card: YAML front matter and Markdown.

    Args:
      about: content of jaxrec.json.
      results: content of results.json; None where the run was not evaluated.
      name: of the run.
      example: `prompt`, and `seen`, the items to exclude; not from a real user's history, as the card is public.
    """
    return (
        "\n\n".join(
            [
                _front_matter(about),
                f"# {escaped(name)}: {escaped(about['method'])} on {escaped(about['data'])}",
                _description(about),
                "## Use\n\n" + _use(about, example),
                "## Measured\n\n" + _measured(about, results),
                "## Files\n\n" + _files(about),
                "## Limits\n\n" + _limits(about),
                "",
            ]
        ).rstrip("\n")
        + "\n"
    )


def escaped(text: object) -> str:
    """Text in a line of Markdown that is shown as it is: no markup, HTML or link, and on one line."""
    line = printable(" ".join(str(text).split())).replace("://", "&#58;//")
    return re.sub(r"[\\`*_{}\[\]<>|#!~]|&(?!#58;//)", lambda sign: f"&#{ord(sign[0])};", line)


def code(text: object) -> str:
    """Text in a line of Markdown as code, whatever marks of code it holds."""
    line = printable(" ".join(str(text).split()))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def block(text: str, language: str = "") -> str:
    """Lines of Markdown as a block of code, which nothing in them ends."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{printable(text)}\n{fence}"


def _front_matter(about: Mapping[str, Any]) -> str:
    lines = [
        f"library_name: {'peft' if about['adapter'] else 'transformers'}",
        f"pipeline_tag: {PIPELINES[about['answer']]}",
        "tags:",
    ]
    lines += [f"- {tag}" for tag in ("recommendation", "sequential-recommendation", "jaxrec", about["backbone"])]
    if about["base"]["kind"] == "hub":
        lines.append(f"base_model: {json.dumps(printable(about['base']['name']))}")
    lines.append("# license: depends on the licenses of the data and of the base model; fill it in")
    return "\n".join(["---", *lines, "---"])


def _description(about: Mapping[str, Any]) -> str:
    new, shape = about["vocabulary"]["new"], about["shape"]
    kind = "a decoder-only model" if about["decoder_only"] else "an encoder-decoder"
    family = shape.get("family", about["backbone"])
    lora = f", adapted by LoRA of rank {about['lora']['rank']}" if about["lora"] else ""
    base = {
        "random": "random weights",
        "folder": f"{code(about['base']['name'])}, a local folder of its author",
        "hub": code(about["base"]["name"]),
    }[about["base"]["kind"]]
    return (
        f"A recommender whose items are new tokens of a language model: {kind} of the family {family} with "
        f"{about['layers']} layers of width {shape['d_model']}, "
        f"started from {base}{lora}, with {new:,} new tokens that name "
        f"{about['n_users']:,} users and {about['n_items']:,} items. {ANSWERS[about['answer']]} A prompt holds "
        f"{USERS[about['users']]}. Trained with jaxrec {about['versions']['jaxrec']} (JAX "
        f"{about['versions']['jax']}), seed {about['seed']}, protocol {about['protocol']}."
    )


def _use(about: Mapping[str, Any], example: Mapping[str, Any]) -> str:
    peft = " peft" if about["adapter"] else ""
    parts = [
        f"`pip install torch transformers safetensors{peft}` (transformers 5 or newer; made and checked with "
        f"{about['versions']['transformers']}), then, in this folder:",
        "```\npython recommend.py --user NAME -k 10\npython recommend.py --check\n```",
        "NAME is one of `users.tsv`; `--check` recomputes the lists in `samples.json` and compares them with "
        "those of jaxrec. Both files hold names and histories of users; uploads leave them out.",
    ]
    if about["adapter"] and about["base"]["kind"] == "folder":
        parts.append(
            f"The base model, {code(about['base']['name'])}, was a local folder of this model's author: pass your copy "
            "as `--base FOLDER` in every call, and as `Exported(base=FOLDER)` below."
        )
    if about["users"] == "none":
        parts.append("For a new user: `python recommend.py --history NAME,NAME`, names in items.tsv, oldest first.")
    else:
        parts.append(
            "A new user needs an id or a vector, which jaxrec computes from a history: "
            "`python -m launch.recommend RUN --history NAME,NAME`."
        )
    parts += ["From Python, in this folder:", _python(about, example)]
    if about["answer"] == "id" and not about["vector_tokens"]:
        libraries = "transformers and peft" if about["adapter"] else "transformers"
        parts += [f"With {libraries} alone, which may generate an id of no item, or an item in the history:"]
        parts += [_plain(about, example)]
    if about.get("writing") and not about["vector_tokens"]:
        prompts = "\n".join(f"- {task}: `{template}`" for task, template in about["writing"].items())
        parts.append(
            "It also generates text. Use one of these prompts, with ids for {user} and {item}, and `generate`:"
            f"\n\n{prompts}"
        )
    return "\n\n".join(parts)


def _python(about: Mapping[str, Any], example: Mapping[str, Any]) -> str:
    return block(
        "from recommend import Exported\n\nexported = Exported()\n"
        f"prompt = {example['prompt']!r}\n"
        f"for item, score in exported.recommend([prompt], seen=[{example['seen']!r}], k=10)[0]:\n"
        '    print(score, exported.items[item]["id"], exported.items[item]["title"])',
        "python",
    )


def _plain(about: Mapping[str, Any], example: Mapping[str, Any]) -> str:
    kind = about["transformers_class"]
    prompt, n = example["prompt"] + about["prompt_end"], about["id_tokens"]
    model = f'model = {kind}.from_pretrained(".")'
    settings = ""
    if about["adapter"]:
        base, stored = about["base"]["name"], about["lora"]["base_dtype"]
        base = "base" if about["base"]["kind"] == "random" else base
        model = (
            f"model = {kind}.from_pretrained({base!r}, dtype={stored!r}).float()  # as it was while it was adapted\n"
            f"model.resize_token_embeddings({about['vocabulary']['size']})\n"
            'model = PeftModel.from_pretrained(model, ".")'
        )
        settings = ', generation_config=GenerationConfig.from_pretrained(".")'
    imports = f"from transformers import AutoTokenizer, {kind}"
    if about["adapter"]:
        imports = f"from peft import PeftModel\nfrom transformers import {kind}, AutoTokenizer, GenerationConfig"
    return block(
        f"{imports}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained(".")\n{model}\n'
        f'prompt = tokenizer({prompt!r}, return_tensors="pt")\n'
        f"said = model.generate(input_ids=prompt.input_ids, attention_mask=prompt.attention_mask{settings})\n"
        f"print(tokenizer.decode(said[0, -{n}:]))",
        "python",
    )


def _measured(about: Mapping[str, Any], results: Mapping[str, Any] | None) -> str:
    if results is None:
        return "Not measured: the run has no results.json."
    users = max(row["n_users"] for row in results["rows"])
    return (
        f"{escaped(results['dataset'])}, {results['protocol']} protocol, {results['part']} part, n = {users:,} users, "
        f"one run, seed {results['seed']}. Rows without the model's name are baselines on the same split.\n\n"
        + block(results_table(dict(results)))
        + ("\n\n" + block(text_table(dict(results))) if "texts" in results else "")
    )


def _files(about: Mapping[str, Any]) -> str:
    weights = "`model.safetensors` (or its shards), `config.json`"
    if about["adapter"]:
        weights = "`adapter_model.safetensors`, `adapter_config.json`, `base/` (if no hub has the base model)"
    lines = [
        f"- {weights}, `generation_config.json`, the tokenizer: in Hugging Face's formats",
        "- `items.tsv`, `users.tsv`: names, titles and ids; for users also the history, as 0-based lines of items.tsv",
        "- `recommend.py`: recommends as jaxrec does; `samples.json`: jaxrec's recommendations for some users",
        "- `users.tsv` and `samples.json` are not in an upload, unless it was made with `--push-users`",
        "- `jaxrec.json`: templates and settings of the model; `jaxrec.safetensors` (if present): what "
        "`jaxrec.export.model_folder.read` needs to restore the trained model bit by bit",
    ]
    if about["vector_tokens"]:
        lines.append(
            "- `vector_tokens.py`, `item_vectors.safetensors`, `user_vectors.safetensors` (not in an upload): "
            "embeddings made of collaborative vectors, which stand behind ids in prompts, and how the model reads them"
        )
    if about["answer"] == "vector":
        lines.append(
            "- `projection.safetensors`: MLP of three layers with ReLU, from the pooled last hidden states to the "
            "item vectors; `items.safetensors`: item vectors of unit norm, or 0 for items without events"
        )
    return "\n".join(lines)


def _limits(about: Mapping[str, Any]) -> str:
    lines = [
        f"- It knows only the {about['n_items']:,} items of items.tsv; add new ones with jaxrec "
        "(`python -m launch.update`), and export the run again.",
        "- users.tsv and samples.json hold names and histories of users: do not publish them; "
        "`launch.export --push` leaves them out. Without users.tsv, recommend.py takes `--history` only, and "
        "only where prompts hold no user id.",
        "- It was evaluated offline on one data set, by predicting the next item; its effect on users, and its "
        "fairness to groups of users or items, were not evaluated.",
    ]
    if about["oov"]["scope"] == "encoder" and not about["decoder_only"]:
        lines.append(
            "- The encoder has an embedding table of its own (`encoder.embed_tokens.weight`). transformers before 5 "
            "ties it to the decoder's without an error, and gives wrong results."
        )
    if about["dtype"] == "bfloat16":
        lines.append("- The weights are rounded to bfloat16; the results above are those of the unrounded weights.")
    return "\n".join(lines)
