"""The page at /docs: the server's OpenAPI description as HTML, without scripts or anything from elsewhere."""

from __future__ import annotations

import importlib.resources
from typing import Any

import jinja2


def api_page(description: dict[str, Any]) -> str:
    """The page of an OpenAPI description, which FastAPI makes.

    Args:
      description: OpenAPI 3.1 as a dictionary; bodies are references to its components.
    """
    source = importlib.resources.files("jaxrec.server").joinpath("api.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    calls = [
        {
            "method": method.upper(),
            "path": path,
            "text": call.get("description", call.get("summary", "")),
            "parameters": call.get("parameters", []),
            "body": _content(call.get("requestBody", {})),
            "answer": _content(call.get("responses", {}).get("200", {})),
        }
        for path, calls in description["paths"].items()
        for method, call in calls.items()
    ]
    schemas = description["components"]["schemas"]
    return environment.from_string(source).render(
        title=f"{description['info']['title']} {description['info']['version']}",
        calls=calls,
        schemas=[schema for name, schema in sorted(schemas.items()) if name in _used(calls, schemas)],
        parts=_parts,
    )


def _content(message: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of a body, None where it has none."""
    return message.get("content", {}).get("application/json", {}).get("schema")


def _parts(schema: dict[str, Any]) -> list[tuple[str, str]]:
    """A type in words, as pieces of text and the names of the schemas that they link to, or ""."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return [(name, name)]
    if "anyOf" in schema:
        options = [_parts(option) for option in schema["anyOf"]]
        return [piece for n, option in enumerate(options) for piece in ([(" or ", "")] if n else []) + option]
    if schema.get("type") == "array":
        return [("list of ", ""), *_parts(schema["items"])]
    if "enum" in schema:
        return [(" or ".join(f'"{value}"' for value in schema["enum"]), "")]
    if isinstance(schema.get("additionalProperties"), dict):
        return [("by name: ", ""), *_parts(schema["additionalProperties"])]
    return [(schema.get("type", "any"), "")]


def _used(calls: list[dict[str, Any]], schemas: dict[str, Any]) -> set[str]:
    """Names of the schemas that calls speak of, and those that these speak of."""
    waiting = [
        link for call in calls for schema in (call["body"], call["answer"]) if schema for _, link in _parts(schema)
    ]
    used = {"Problem"}
    while waiting:
        if (name := waiting.pop()) and name not in used:
            used.add(name)
            fields = schemas[name].get("properties", {}).values()
            waiting += [link for field in fields for _, link in _parts(field)]
    return used
