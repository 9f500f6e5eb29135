"""An application with views made for testing the layer between Flask and the services, on an empty SQLite database."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
from flask import Blueprint, Flask, Response, render_template_string, request
from pydantic import Field
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from webapp import errors
from webapp.app import create_app
from webapp.extensions import strict
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard, prove_form, public
from webapp.http.inputs import read_form, takes
from webapp.policies import Actor
from webapp.services import users
from webapp.services.inputs import Input, Line

from .conftest import PASSWORD, make_settings, make_tables

FAILURES: dict[str, Callable[[], BaseException]] = {
    "missing": lambda: errors.Missing("There is no such thing."),
    "refused": errors.Refused,
    "unauthenticated": errors.Unauthenticated,
    "conflict": lambda: errors.Conflict("Taken.", code="taken"),
    "stale": errors.Stale,
    "large": errors.TooLarge,
    "unsupported": errors.Unsupported,
    "range": lambda: errors.Unsatisfiable(10),
    "invalid": lambda: errors.Invalid.field("name", "too_short", "Longer, please."),
    "locked": errors.Locked,
    "limited": lambda: errors.Limited("Slowly.", retry_after=6.2),
    "unavailable": errors.Unavailable,
    "full": errors.DiskFull,
    "bug": lambda: RuntimeError("the password is Tr0ub4dor"),
    "pool": PoolTimeout,
    "unique": lambda: IntegrityError("insert", {}, Exception("UNIQUE constraint failed: users.email_key")),
    "gone": lambda: OperationalError("select", {}, Exception("server closed the connection unexpectedly")),
    "foreign": lambda: IntegrityError("insert", {}, Exception("FOREIGN KEY constraint failed")),
}


class Wish(Input):
    """Every kind of field."""

    name: Annotated[str, Line(20)]
    number: Annotated[int, Field(ge=0)] = 0
    share: float = 0.0
    ticked: bool = False
    tags: list[str] = []
    parent_id: UUID | None = None


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """An answer with a version."""

    name: str
    version: int


def make_app(var_dir: Path, **extra: str) -> Flask:
    """The whole application plus the views below, with tables and no rows."""
    settings = make_settings(var_dir, **extra)
    app = create_app(settings)
    app.config["HOLDFAST_SETTINGS"] = settings
    app.register_blueprint(_api(), url_prefix="/api/v1")
    app.register_blueprint(_pages())
    with app.app_context():
        make_tables()
    return app


def make_person(app: Flask, name: str = "pia", role: str = "member") -> Actor:
    """An account of this application."""
    with app.app_context():
        wish = users.NewUser(email=f"{name}@harbour.example", name=name, password=PASSWORD)  # type: ignore[arg-type]
        return users.create_user(None, wish, role)


def _api() -> Blueprint:
    api = Blueprint("plumbing_api", __name__)

    @api.post("/wishes")
    @public
    @takes(Wish)
    @gives(Wish)
    def echo(wish: Wish) -> Response:
        return Response(wish.model_dump_json(), content_type="application/json")

    @api.get("/wishes")
    @public
    @takes(query=Wish)
    @gives(Wish)
    def ask(query: Wish) -> Response:
        return Response(query.model_dump_json(), content_type="application/json")

    @api.get("/things/<int:number>")
    @public
    @gives(Thing)
    def show_thing(number: int) -> Thing:
        return Thing(name="x" * 2000, version=number)

    @api.patch("/things/<int:number>")
    @public
    @gives(Thing)
    def change_thing(number: int) -> Thing:
        if expected_version() not in (None, number):
            raise errors.Stale
        return Thing(name="y", version=number + 1)

    @api.post("/things")
    @public
    @gives(Thing, status=201)
    def create_thing() -> Created:
        return created(Thing(name="new", version=1), "/api/v1/things/1")

    @api.delete("/things/<int:number>")
    @public
    @gives(None, status=204)
    def delete_thing(number: int) -> None:
        return None

    @api.post("/deeds")
    @guard("files.write")
    @gives(None, status=204)
    def do_deed() -> None:
        return None

    @api.get("/failures/<name>")
    @public
    def fail(name: str) -> Response:
        raise FAILURES[name]()

    return api


def _pages() -> Blueprint:
    pages = Blueprint("plumbing_pages", __name__)

    @pages.get("/private")
    @guard("files.read")
    def private() -> str:
        return current_actor().name

    @pages.get("/form")
    @public
    def form() -> str:
        return render_template_string('<meta name="csrf-token" content="{{ csrf_token() }}">')

    @pages.post("/form")
    @public
    def take_form() -> Response:
        return Response(read_form(Wish).model_dump_json(), content_type="application/json")

    @pages.post("/deeds")
    @guard("files.write")
    def do_deed() -> str:
        return "done"

    @pages.post("/uploads")
    @guard("files.write", upload=True)
    def upload() -> str:
        size = sum(len(piece) for piece in iter(lambda: request.stream.read(65536), b""))
        if request.headers.get("X-Field"):
            prove_form(request.headers["X-Field"])
        return str(size)

    @pages.get("/failures/<name>")
    @public
    def fail(name: str) -> Response:
        raise FAILURES[name]()

    @pages.get("/own-policy")
    @public
    def own_policy() -> Response:
        return Response("x", headers={"Content-Security-Policy": "sandbox"})

    @pages.get("/nonce")
    @public
    def nonce() -> str:
        return render_template_string("{{ csp_nonce() }}")

    @pages.get("/invited/<token>")
    @public
    def invited(token: str) -> str:
        return "welcome"

    @pages.get("/precious")
    @public
    @strict.limit("3 per minute")
    def precious() -> str:
        return "yes"

    return pages
