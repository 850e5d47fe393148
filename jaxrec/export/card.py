"""The README.md of an exported model: what it is, what was measured, how to use it, where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxrec.evaluate.results_table import results_table
from jaxrec.evaluate.text_results import text_table

PIPELINES = {"id": "text-generation", "vector": "feature-extraction"}
ANSWERS = {
    "id": "It answers with the id of an item, token by token; beam search follows the ids that items have.",
    "vector": "It answers with a vector, and the items whose vectors are nearest by cosine are recommended.",
}
USERS = {
    "static": "a user's id, made of the user's training events",
    "causal": "a user's id, made of the user's history (in users.tsv: as it is by now)",
    "none": "no id of the user",
}


def card(
    about: Mapping[str, Any],
    results: Mapping[str, Any] | None,
    *,
    name: str,
    example: Mapping[str, Any],
) -> str:
    """The model card, Markdown behind YAML.

    Args:
      about: what jaxrec.json holds.
      results: what results.json holds; None where the run was not measured.
      name: the run's.
      example: a prompt, and `seen`, the items to be left out; of no user's history, as a card is for everybody.
    """
    return (
        "\n\n".join(
            [
                _front(about),
                f"# {name}: {about['method']} on {about['data']}",
                _what(about),
                "## Use\n\n" + _use(about, example),
                "## Measured\n\n" + _measured(about, results),
                "## Files\n\n" + _files(about),
                "## Limits\n\n" + _limits(about),
                "",
            ]
        ).rstrip("\n")
        + "\n"
    )


def _front(about: Mapping[str, Any]) -> str:
    lines = [
        f"library_name: {'peft' if about['adapter'] else 'transformers'}",
        f"pipeline_tag: {PIPELINES[about['answer']]}",
        "tags:",
    ]
    lines += [f"- {tag}" for tag in ("recommendation", "sequential-recommendation", "jaxrec", about["backbone"])]
    if about["base"]["kind"] == "hub":
        lines.append(f"base_model: {about['base']['name']}")
    lines.append("# license: it follows from the data and from what the weights started from; fill it in")
    return "\n".join(["---", *lines, "---"])


def _what(about: Mapping[str, Any]) -> str:
    new, shape = about["vocabulary"]["new"], about["shape"]
    kind = "a decoder-only model" if about["decoder_only"] else "an encoder-decoder"
    family = shape.get("family", about["backbone"])
    lora = f", adapted by LoRA of rank {about['lora']['rank']}" if about["lora"] else ""
    base = {
        "random": "random weights",
        "folder": f"`{about['base']['name']}`, a local folder of whoever trained it",
        "hub": f"`{about['base']['name']}`",
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
        "NAME is one of `users.tsv`; `--check` computes `samples.json` again and compares it with what jaxrec itself "
        "found. Both files hold names and histories of users, and an upload leaves them out.",
    ]
    if about["adapter"] and about["base"]["kind"] == "folder":
        parts.append(
            f"The base model, `{about['base']['name']}`, was a local folder of whoever trained this: give yours to "
            "every call, `--base FOLDER`, and `Exported(base=FOLDER)` below."
        )
    if about["users"] == "none":
        parts.append("Somebody new: `python recommend.py --history NAME,NAME`, names of items.tsv, oldest first.")
    else:
        parts.append(
            "Somebody new needs an id, which jaxrec makes of a history: "
            "`python -m launch.recommend RUN --history NAME,NAME`."
        )
    parts += ["From Python, in this folder:", _python(about, example)]
    if about["answer"] == "id":
        alone = "transformers and peft" if about["adapter"] else "transformers"
        parts += [f"With {alone} alone, which may say an id that no item has, or an item that the user knows:"]
        parts += [_plain(about, example)]
    if about.get("writing"):
        prompts = "\n".join(f"- {task}: `{template}`" for task, template in about["writing"].items())
        parts.append(
            "It also writes. Ask with one of these, ids in the place of {user} and {item}, and `generate` a few words:"
            f"\n\n{prompts}"
        )
    return "\n\n".join(parts)


def _python(about: Mapping[str, Any], example: Mapping[str, Any]) -> str:
    return (
        "```python\nfrom recommend import Exported\n\nexported = Exported()\n"
        f"prompt = {example['prompt']!r}\n"
        f"for item, score in exported.recommend([prompt], seen=[{example['seen']!r}], k=10)[0]:\n"
        '    print(score, exported.items[item]["id"], exported.items[item]["title"])\n```'
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
    return (
        f"```python\n{imports}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained(".")\n{model}\n'
        f'prompt = tokenizer({prompt!r}, return_tensors="pt")\n'
        f"said = model.generate(input_ids=prompt.input_ids, attention_mask=prompt.attention_mask{settings})\n"
        f"print(tokenizer.decode(said[0, -{n}:]))\n```"
    )


def _measured(about: Mapping[str, Any], results: Mapping[str, Any] | None) -> str:
    if results is None:
        return "Not measured: the run has no results.json."
    users = max(row["n_users"] for row in results["rows"])
    return (
        f"{results['dataset']}, {results['protocol']} protocol, {results['part']} part, n = {users:,} users, one run, "
        f"seed {results['seed']}. Rows without the model's name are baselines of the same split.\n\n"
        f"```\n{results_table(dict(results))}\n```"
        + (f"\n\n```\n{text_table(dict(results))}\n```" if "texts" in results else "")
    )


def _files(about: Mapping[str, Any]) -> str:
    weights = "`model.safetensors` (or its shards), `config.json`"
    if about["adapter"]:
        weights = "`adapter_model.safetensors`, `adapter_config.json`, `base/` (where no hub has the base model)"
    lines = [
        f"- {weights}, `generation_config.json`, the tokenizer: as Hugging Face has them",
        "- `items.tsv`, `users.tsv`: names, titles and ids; of users also the history, as lines of items.tsv from 0",
        "- `recommend.py`: asks as jaxrec does; `samples.json`: what jaxrec answers to some users",
        "- `users.tsv` and `samples.json` are not in an upload, unless it was made with `--push-users`",
        "- `jaxrec.json`: templates and all else that is needed to ask; `jaxrec.safetensors` (where it is there): what "
        "`jaxrec.export.model_folder.read` needs to give the trained model back bit by bit",
    ]
    if about["answer"] == "vector":
        lines.append(
            "- `projection.safetensors`: three layers, relu between them, from the pooled last hidden states to the "
            "items' vectors; `items.safetensors`: these, of length 1, or 0 where nothing is known of an item"
        )
    return "\n".join(lines)


def _limits(about: Mapping[str, Any]) -> str:
    lines = [
        f"- It knows the {about['n_items']:,} items of items.tsv and no others; new ones are taken in with jaxrec "
        "(`python -m launch.update`), and the run exported again.",
        "- users.tsv and samples.json hold names and histories of users: leave both out of what is published, as "
        "`launch.export --push` does. Without users.tsv, recommend.py answers to `--history` alone, and only where "
        "prompts hold no id of the user.",
        "- It was measured offline on one data set, on the items that users chose next; nothing is known of its effect "
        "on people, or of how it treats groups of users or items.",
    ]
    if about["oov"]["scope"] == "encoder" and not about["decoder_only"]:
        lines.append(
            "- The encoder has an embedding table of its own (`encoder.embed_tokens.weight`). transformers before 5 "
            "would tie it to the decoder's without an error and answer wrongly."
        )
    if about["dtype"] == "bfloat16":
        lines.append("- The weights are rounded to bfloat16; results above are those of the run's own weights.")
    return "\n".join(lines)
