"""The API's documentation as one page, made from its OpenAPI document: no script, nothing fetched from elsewhere (pure)."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Doc = Mapping[str, Any]
_STARTS = ("get", "post", "put", "patch", "delete")


def docs_page(document: Doc) -> str:
    """Return the page."""
    by_tag: dict[str, list[tuple[str, str, Doc]]] = {}
    for path, item in document["paths"].items():
        for method in _STARTS:
            if method in item:
                tag = next(iter(item[method].get("tags", ["other"])))
                by_tag.setdefault(tag, []).append((method, path, item[method]))
    contents = "".join(
        f"<li>{escape(tag)}<ul>" + "".join(_line(*one) for one in found) + "</ul></li>"
        for tag, found in by_tag.items()
    )
    parts = "".join(
        f"<h2>{escape(tag)}</h2>" + "".join(_operation(document, *one) for one in found)
        for tag, found in by_tag.items()
    )
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(info["title"])} API</title><link rel="stylesheet" href="/m/style.css"></head><body>'
        f'<header><h1>{escape(info["title"])} API</h1><a href="/openapi.json">openapi.json</a></header>'
        f'<main><p>{escape(info["description"])}</p><nav aria-label="Contents"><ul>{contents}</ul></nav>'
        f"{parts}<h2>Shapes</h2>{_schemas(document)}</main></body></html>"
    )


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""))


def _line(method: str, path: str, _: Doc) -> str:
    return f'<li><a href="#{_anchor(method, path)}">{method.upper()} {escape(path)}</a></li>'


def _operation(document: Doc, method: str, path: str, operation: Doc) -> str:
    roles = ", ".join(operation.get("x-roles", []))
    asked = "".join(_parameter(one) for one in operation.get("parameters", []))
    good = [status for status in operation["responses"] if status < "300"]
    answers = ", ".join(
        f"{status} {_shape(_json_schema(operation['responses'][status]))}".strip() for status in good
    )
    answered = "".join(_answer_example(document, operation["responses"][status]) for status in good)
    errors = ", ".join(status for status in operation["responses"] if status >= "300")
    return (
        f'<article class="card" id="{_anchor(method, path)}"><h3>{method.upper()} {escape(path)}</h3>'
        f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>"
        f"<p class='quiet'>For: {escape(roles)}</p>{f'<dl>{asked}</dl>' if asked else ''}"
        f"{_body(document, operation)}<p class='quiet'>Answers: {answers}; errors: {escape(errors) or 'none'}</p>{answered}</article>"
    )


def _parameter(one: Doc) -> str:
    needed = "" if one.get("required") else ", optional"
    told = f" {escape(one['description'])}" if one.get("description") else ""
    return f"<dt>{escape(one['name'])}</dt><dd>{escape(one['in'])}{needed}.{told}</dd>"


def _body(document: Doc, operation: Doc) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    shown = []
    for kind, one in content.items():
        example = one.get("example", _example(document, one.get("schema", {})))
        text = example if isinstance(example, str) else json.dumps(example, indent=1)
        name = _shape(one.get("schema", {}))
        shown.append(
            f"<p class='quiet'>Send {escape(kind)} {name}</p>"
            + (f"<pre>{escape(text)}</pre>" if example else "")
        )
    return "".join(shown)


def _example(document: Doc, schema: Doc) -> Any:
    return next(iter(_resolved(document, schema).get("examples", [])), None)


def _answer_example(document: Doc, answer: Doc) -> str:
    example = _example(document, _json_schema(answer))
    return f"<pre>{escape(json.dumps(example, indent=1))}</pre>" if example else ""


def _resolved(document: Doc, schema: Doc) -> Doc:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Doc = document["components"]["schemas"][name] if name else schema
    return found


def _json_schema(answer: Doc) -> Doc:
    schema: Doc = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _shape(schema: Doc) -> str:
    """Return a schema in a few words, linked where it has a name."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_shape(one) for one in schema["anyOf"])
    if "enum" in schema:
        return escape(" | ".join(map(str, schema["enum"])))
    if "const" in schema:
        return escape(str(schema["const"]))
    if schema.get("type") == "array":
        return f"list of {_shape(schema.get('items', {})) or 'anything'}"
    return escape(str(schema.get("format") or schema.get("type") or ""))


def _schemas(document: Doc) -> str:
    return "".join(
        f'<article class="card" id="{escape(name)}"><h3>{escape(name)}</h3>'
        f"<p>{escape(schema.get('description', ''))}</p><dl>{''.join(_fields(schema))}</dl></article>"
        for name, schema in sorted(document["components"]["schemas"].items())
    )


def _fields(schema: Doc) -> Iterator[str]:
    needed = schema.get("required", [])
    for name, one in schema.get("properties", {}).items():
        optional = "" if name in needed else ", optional"
        yield f"<dt>{escape(name)}</dt><dd>{_shape(one)}{optional}</dd>"
