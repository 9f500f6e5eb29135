"""The OpenAPI 3.1 document, generated from what the API's views declare by @guard, @takes and @gives."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import Rule

from webapp.config import VERSION
from webapp.policies import SCOPES

Document = dict[str, Any]
COMPONENT = "#/components/schemas/{name}"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PARAMETERS: dict[str, Document] = {
    "uuid": {"type": "string", "format": "uuid"},
    "int": {"type": "integer", "minimum": 0},
    "string": {"type": "string"},
}
VARIABLE = re.compile(r"<(?:([a-z]+)(?:\([^)]*\))?:)?([a-z_]+)>")
SECURITY: Document = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An access token of POST /auth/login"},
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "hf_…",
              "description": "A personal token of /account/tokens, with the scope that is named here"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "session",
               "description": "The browser's session; writing also needs the header X-CSRF-Token"},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": "The token that pages carry"},
}  # fmt: skip
TEXT = {"type": "string"}
PROBLEM: Document = {
    "type": "object",
    "description": "What went wrong (RFC 9457)",
    "required": ["type", "title", "status", "detail", "instance", "request_id", "code"],
    "properties": {
        "type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "instance": TEXT,
        "request_id": {"type": "string", "description": "Stands on every log line of the request"},
        "code": {"type": "string", "description": "A stable word for programs"},
        "errors": {"type": "array", "items": {
            "type": "object", "required": ["field", "code", "message"],
            "properties": {"field": TEXT, "code": TEXT, "message": TEXT}}},
    },
}  # fmt: skip
UPLOAD: Document = {
    "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {
        "file": {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}},
        "folder_id": {"type": "string", "format": "uuid"}}}},
    "application/octet-stream": {"schema": {}},
}  # fmt: skip
ETAG: Document = {"description": 'The version, as in "7"', "schema": TEXT}
IF_MATCH: Document = {
    "name": "If-Match",
    "in": "header",
    "schema": TEXT,
    "description": 'The version you saw, as in "7"',
}
IDEMPOTENCY_KEY: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "A repetition within 24 hours gets the first answer and does nothing",
}
IF_NONE_MATCH: Document = {"name": "If-None-Match", "in": "header", "schema": TEXT, "description": "Versions you know"}


def document_of(app: Flask) -> Document:
    """The document of every operation of this application's API."""
    operations = list(_operations(app))
    views = [view for _, _, view in operations]
    inputs = [model for view in views for model in (view_takes(view)["body"], view_takes(view)["query"]) if model]
    schemas, components = _schemas(inputs, [view_gives(view)[part] for view in views for part in ("view", "or_view")])
    paths: dict[str, Document] = {}
    for rule, method, view in operations:
        path = VARIABLE.sub(r"{\2}", rule.rule.removeprefix("/api/v1"))
        paths.setdefault(path, {})[method.lower()] = _operation(rule, method, view, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Holdfast", "version": VERSION, "description": "A file vault, for programs."},
        "servers": [{"url": "/api/v1"}],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {"Problem": PROBLEM, **components}, "securitySchemes": SECURITY},
    }


def view_takes(view: Callable[..., Any]) -> Document:
    """What @takes said of the view."""
    return getattr(view, "takes", {"body": None, "query": None, "upload": False})


def view_gives(view: Callable[..., Any]) -> Document:
    """What @gives said of the view."""
    return getattr(view, "gives", {"view": None, "or_view": None, "status": 200, "errors": (), "extra": {},
                                    "keyed": False})  # fmt: skip


def _operations(app: Flask) -> Iterator[tuple[Rule, str, Any]]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        blueprint = rule.endpoint.partition(".")[0]
        if blueprint.endswith("_api") and blueprint != "docs_api":
            for method in METHODS:
                if method in (rule.methods or ()):
                    yield rule, method, app.view_functions[rule.endpoint]


def _schemas(inputs: Iterable[type[BaseModel]], views: Iterable[Any]) -> tuple[dict[Any, Document], Document]:
    """Schema of every input and every answer, and the components they refer to."""
    models = list(dict.fromkeys(inputs))
    taken, definitions = models_json_schema(
        [(m, "validation") for m in models], ref_template=COMPONENT.format(name="{model}")
    )
    answers = [view for view in dict.fromkeys(views) if view is not None]
    given, components = msgspec.json.schema_components(answers, ref_template=COMPONENT)
    schemas: dict[Any, Document] = {model: taken[model, "validation"] for model in models}
    schemas |= dict(zip(answers, given, strict=True))
    for model in models:  # queries become parameters, one by one
        schemas[model, "whole"] = definitions["$defs"][schemas[model]["$ref"].rpartition("/")[2]]
    return schemas, _mended({**definitions.get("$defs", {}), **components})


def _mended(schema: Any) -> Any:
    """Without defaults that break their own rule ("" where a character is needed); what ends in _at is an instant."""
    if isinstance(schema, list):
        return [_mended(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    mended = {key: _mended(part) for key, part in schema.items()}
    if mended.get("default") == "" and mended.get("minLength"):
        del mended["default"]
    for name, part in (mended.get("properties") or {}).items():
        for text in (part, *part.get("anyOf", ())) if name.endswith("_at") else ():
            if text.get("type") == "string":
                text["format"] = "date-time"
    return mended


def _operation(rule: Rule, method: str, view: Any, schemas: dict[Any, Document]) -> Document:
    takes, gives = view_takes(view), view_gives(view)
    summary, _, description = (inspect.getdoc(view) or view.__name__).partition("\n\n")
    noun, _, name = rule.endpoint.partition("_api.")
    versioned = "version" in getattr(gives["view"], "__struct_fields__", ())
    operation: Document = {
        "operationId": f"{name}_of_{noun}",
        "tags": [noun],
        "summary": " ".join(summary.split()),
        "parameters": [*_path_parameters(rule), *_query_parameters(takes["query"], schemas)],
        "responses": _responses(method, view, schemas, versioned),
    }
    if description:
        operation["description"] = description
    if gives["keyed"]:
        operation["parameters"].append(IDEMPOTENCY_KEY)
    if 412 in gives["errors"]:
        operation["parameters"].append(IF_MATCH)
    if versioned and method == "GET":
        operation["parameters"].append(IF_NONE_MATCH)
    if takes["body"] is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[takes["body"]]}},
        }
    elif takes["upload"]:
        operation["requestBody"] = {"required": True, "content": UPLOAD}
    operation |= _demands(method, view)
    return _merged(operation, gives["extra"])


def _demands(method: str, view: Any) -> Document:
    """Who may call it; where `x-subtree` is true, tokens that are limited to a folder, too. Where `x-step-up` is true
    403 step_up_required asks for POST /auth/confirm first."""
    if view.permission is None:
        return {"security": []}
    cookie: Document = {"cookie": []} if method == "GET" else {"cookie": [], "csrf": []}
    token: list[Document] = [{"token": [view.permission]}] if view.permission in SCOPES else []
    demands: Document = {"security": [{"bearer": []}, *token, cookie], "x-permission": view.permission,
                         "x-subtree": view.subtree}  # fmt: skip
    return demands | ({"x-step-up": True} if view.fresh else {})


def _path_parameters(rule: Rule) -> Iterator[Document]:
    for converter, name in VARIABLE.findall(rule.rule):
        yield {"name": name, "in": "path", "required": True, "schema": PARAMETERS.get(converter or "string", TEXT)}


def _query_parameters(model: type[BaseModel] | None, schemas: dict[Any, Document]) -> Iterator[Document]:
    if model is None:
        return
    whole = schemas[model, "whole"]
    for name, schema in whole.get("properties", {}).items():
        kept = [part for part in schema.get("anyOf", []) if part != {"type": "null"}]
        plain = {k: v for k, v in schema.items() if k not in {"anyOf", "title"} and (k, v) != ("default", None)}
        if kept:
            plain |= kept[0] if len(kept) == 1 else {"anyOf": kept}
        yield {"name": name, "in": "query", "required": name in whole.get("required", ()), "schema": plain}


def _responses(method: str, view: Any, schemas: dict[Any, Document], versioned: bool) -> Document:
    takes, gives = view_takes(view), view_gives(view)
    success: Document = {"description": HTTP_STATUS_CODES[gives["status"]]}
    if gives["view"] is not None:
        cases = [schemas[case] for case in (gives["view"], gives["or_view"]) if case is not None]
        success["content"] = {"application/json": {"schema": cases[0] if len(cases) == 1 else {"oneOf": cases}}}
    if versioned:
        success["headers"] = {"ETag": ETAG}
    if gives["status"] == 201:
        success.setdefault("headers", {})["Location"] = {"schema": {"type": "string", "format": "uri-reference"}}
    responses = {str(gives["status"]): success}
    if versioned and method == "GET":
        responses["304"] = {"description": "You have this version", "headers": {"ETag": ETAG}}
    errors = {*gives["errors"], 422, 429, 500, 503}
    errors |= {401, 403} if view.permission is not None else set()
    errors |= {400, 413, 415} if takes["body"] is not None or takes["upload"] else set()
    errors |= {400} if 412 in errors else set()
    for status in sorted(errors):
        problem = {"application/problem+json": {"schema": {"$ref": COMPONENT.format(name="Problem")}}}
        responses[str(status)] = {"description": HTTP_STATUS_CODES[status], "content": problem}
    return responses


def _merged(base: Document, extra: Document) -> Document:
    """`extra` over `base`; objects are merged, lists appended."""
    for key, value in extra.items():
        known = base.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            base[key] = _merged(dict(known), value)
        elif isinstance(known, list) and isinstance(value, list):
            base[key] = known + value
        else:
            base[key] = value
    return base
