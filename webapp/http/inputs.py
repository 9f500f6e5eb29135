"""What clients send, as pydantic inputs: JSON bodies, forms and queries. Anything unreadable is a 4xx, never a 500."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from typing import Any, TypeVar, get_args, get_origin
from urllib.parse import unquote_to_bytes

from flask import request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.datastructures import MultiDict

from webapp.errors import FieldError, Invalid, Malformed, Unsupported

I = TypeVar("I", bound=BaseModel)  # noqa: E741
V = TypeVar("V", bound=Callable[..., Any])
JSON = {"application/json", "application/merge-patch+json"}
FORMS = {"application/x-www-form-urlencoded", "multipart/form-data"}
ENVELOPE = {"csrf_token", "version"}  # fields every form may carry; `conditional` reads the latter
OPENED = "opened."  # before a field's name: what it held when the person began; merges.py compares
MOST_FAULTS, MOST_OF_A_NAME = 50, 100
SEVERAL = (list, tuple, set, frozenset)


def refuse_broken_query() -> None:
    """Raise Malformed for a query that is not UTF-8 once its percent signs are read (RFC 3986, 2.5). Werkzeug would
    leave such bytes as they were written, and what nobody typed would be searched for."""
    try:
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError:
        raise Malformed("The query is not UTF-8.", code="query_encoding") from None


def takes(
    body: type[BaseModel] | None = None, *, query: type[BaseModel] | None = None, upload: bool = False
) -> Callable[[V], V]:
    """Pass the JSON body as the view's first argument and the query as `query=`.

    `upload` says that the view reads files itself, multipart or raw; it only describes. Unknown fields and query
    parameters are 422. The OpenAPI document is generated from the same declaration.
    """

    def decorate(view: V) -> V:
        @wraps(view)
        def taken(*args: Any, **kwargs: Any) -> Any:
            if query is not None:
                kwargs["query"] = read_query(query)
            return view(read_json(body), *args, **kwargs) if body is not None else view(*args, **kwargs)

        taken.takes = {"body": body, "query": query, "upload": upload}  # type: ignore[attr-defined]
        return taken  # type: ignore[return-value]

    return decorate


def read_json(model: type[I]) -> I:
    """The request's body. Raises Unsupported (415), Malformed (400), Invalid (422)."""
    if request.mimetype not in JSON:
        raise Unsupported("Send the body as application/json.")
    raw = request.get_data()
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise _refusal(error) from None


def read_query(model: type[I]) -> I:
    """The query string. A parameter may be repeated only where the input takes several. Raises Invalid."""
    return _validated(model, _collect(model, request.args))


def read_filter(model: type[I]) -> I:
    """The query that a page's filter form makes: a field left empty counts as absent. Raises Invalid."""
    return _validated(model, {name: value for name, value in _collect(model, request.args).items() if value != ""})


def read_form(model: type[I]) -> I:
    """A page's form: an empty field counts as None (as absent where None is not allowed), an unticked box is absent.

    Raises Unsupported, Invalid.
    """
    if request.mimetype not in FORMS:
        raise Unsupported("Send the form as a form.")
    fields = {name: value for name, value in _collect(model, request.form, ENVELOPE).items() if value != ""}
    for name in request.form.keys() & _nullable(model):
        fields.setdefault(name, None)
    return _validated(model, fields)


def _validated(model: type[I], fields: dict[str, Any]) -> I:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        refusal = _refusal(error)
        # Fields of queries and forms are flat: what follows a dot is pydantic's name for one kind of value of several.
        refusal.errors = tuple(replace(fault, field=fault.field.partition(".")[0]) for fault in refusal.errors)
        raise refusal from None


def _collect(model: type[BaseModel], source: MultiDict[str, str], ignored: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    several, fields = _several(model), dict[str, Any]()
    for name, values in source.lists():
        if (name in ignored and name not in model.model_fields) or (ignored and name.startswith(OPENED)):
            continue
        if name in several:
            fields[name] = values
        elif len(values) == 1:
            fields[name] = values[0]
        else:
            raise Invalid.field(name, "repeated", "Give this once.")
    return fields


@cache
def _several(model: type[BaseModel]) -> frozenset[str]:
    """Names of the fields that hold more than one value."""
    return frozenset(name for name, field in model.model_fields.items() if _is_several(field.annotation))


def _is_several(annotation: Any) -> bool:
    return get_origin(annotation) in SEVERAL or any(get_origin(part) in SEVERAL for part in get_args(annotation))


@cache
def _nullable(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if type(None) in get_args(field.annotation))


def _refusal(error: ValidationError) -> Malformed | Invalid:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        return Malformed("The body is not valid JSON.", code="json_invalid")
    return Invalid("Please look at the fields named in errors.", errors=tuple(map(field_error, faults[:MOST_FAULTS])))


def field_error(fault: ErrorDetails) -> FieldError:
    """A fault of pydantic without the value that caused it."""
    message = fault["msg"].removeprefix("Value error, ")
    field = ".".join(str(part) for part in fault["loc"])  # may be a name that the client made up
    return FieldError(field[:MOST_OF_A_NAME], fault["type"], message[:1].upper() + message[1:])
