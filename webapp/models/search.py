"""The index of search: a row for each living file and folder, written by triggers, so that no change goes past it.

`named` holds the words of the name; `whole` those of name, tags, description and text, where there is more than a name.
PostgreSQL keeps them as tsvector under GIN; on SQLite they are plain text, and the FTS5 table search_words is their index.
"""  # noqa: E501

from typing import Any

from sqlalchemy import Connection, Index, MetaData, String, event
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.infra.terms import LONGEST, SEPARATORS
from webapp.models.record import BIG, BigInt
from webapp.models.texts import WORDS

_GIN: dict[str, Any] = {"postgresql_using": "gin", "postgresql_with": {"fastupdate": "off"}}


class SearchEntry(Base):
    """What search knows of a file or folder. `parent_id` is the folder that holds it, None at the top."""

    __tablename__ = "search_entries"
    __table_args__ = (
        Index("ix_search_entries_owner_id", "owner_id", "item_id"),
        Index("ix_search_entries_parent_id", "parent_id", "item_id"),
        Index("ix_search_entries_named", "named", **_GIN).ddl_if(dialect="postgresql"),
        Index("ix_search_entries_whole", "whole", **_GIN).ddl_if(dialect="postgresql"),
    )

    item_id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(10))  # file | folder
    owner_id: Mapped[BigInt]
    parent_id: Mapped[BigInt | None]
    named: Mapped[str] = mapped_column(WORDS)
    whole: Mapped[str | None] = mapped_column(WORDS)


def postgresql_parts(lower: str) -> list[str]:
    """Functions and triggers of PostgreSQL. `lower` is how it makes the text `plain` small, whatever its locale."""
    blanks = SEPARATORS.replace("'", "''").replace("%", "")
    return [
        f"""CREATE OR REPLACE FUNCTION search_fold(given text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT translate({lower}, '{blanks}' || chr(37), repeat(' ', {len(SEPARATORS)}))
  FROM (SELECT regexp_replace(normalize(given, NFKD), '[\\u0300-\\u036f]', '', 'g') AS plain) AS folded $$""",  # noqa: S608  # nosec B608: names of ours
        f"""CREATE OR REPLACE FUNCTION search_words(given text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_to_tsvector(ARRAY(SELECT DISTINCT left(word, {LONGEST})
    FROM unnest(string_to_array(search_fold(given), ' ')) AS word WHERE word <> '')) $$""",  # noqa: S608  # nosec B608: names of ours
        """CREATE OR REPLACE FUNCTION search_whole(name text, about text, tags jsonb, body tsvector) RETURNS tsvector
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN about = '' AND tags = '[]' AND body IS NULL THEN NULL
    ELSE search_words(concat_ws(' ', name, about, (SELECT string_agg(tag, ' ') FROM jsonb_array_elements_text(tags) AS tag)))
      || coalesce(body, ''::tsvector) END $$""",  # noqa: E501
        """CREATE OR REPLACE FUNCTION search_note_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.deleted_at IS NOT NULL THEN
    DELETE FROM search_entries WHERE item_id = NEW.id;
    RETURN NULL;
  END IF;
  INSERT INTO search_entries (item_id, kind, owner_id, parent_id, named, whole)
  VALUES (NEW.id, 'file', NEW.owner_id, NEW.folder_id, search_words(NEW.name), search_whole(NEW.name, NEW.description,
    NEW.tags, (SELECT t.words FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = NEW.sha256)))
  ON CONFLICT (item_id) DO UPDATE
    SET parent_id = excluded.parent_id, named = excluded.named, whole = excluded.whole;
  RETURN NULL;
END $$""",
        """CREATE OR REPLACE FUNCTION search_note_folder() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.deleted_at IS NOT NULL THEN
    DELETE FROM search_entries WHERE item_id = NEW.id;
    RETURN NULL;
  END IF;
  INSERT INTO search_entries (item_id, kind, owner_id, parent_id, named)
  VALUES (NEW.id, 'folder', NEW.owner_id, NEW.parent_id, search_words(NEW.name))
  ON CONFLICT (item_id) DO UPDATE SET parent_id = excluded.parent_id, named = excluded.named;
  RETURN NULL;
END $$""",
        """CREATE OR REPLACE FUNCTION search_forget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM search_entries WHERE item_id = OLD.id;
  RETURN NULL;
END $$""",
        """CREATE OR REPLACE FUNCTION search_split_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.words := search_words(NEW.text);
  RETURN NEW;
END $$""",
        """CREATE OR REPLACE FUNCTION search_note_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE search_entries e SET whole = search_whole(f.name, f.description, f.tags, NEW.words)
  FROM file_versions v JOIN files f ON f.id = v.file_id AND f.number = v.number
  WHERE v.blob_id = NEW.blob_id AND e.item_id = f.id;
  RETURN NULL;
END $$""",
        """CREATE OR REPLACE TRIGGER search_file AFTER INSERT OR UPDATE OF name, description, tags, folder_id, sha256, deleted_at
ON files FOR EACH ROW EXECUTE FUNCTION search_note_file()""",  # noqa: E501
        """CREATE OR REPLACE TRIGGER search_file_gone AFTER DELETE ON files
FOR EACH ROW EXECUTE FUNCTION search_forget()""",
        """CREATE OR REPLACE TRIGGER search_folder AFTER INSERT OR UPDATE OF name, parent_id, deleted_at
ON folders FOR EACH ROW EXECUTE FUNCTION search_note_folder()""",
        """CREATE OR REPLACE TRIGGER search_folder_gone AFTER DELETE ON folders
FOR EACH ROW EXECUTE FUNCTION search_forget()""",
        """CREATE OR REPLACE TRIGGER search_text_words BEFORE INSERT OR UPDATE OF text ON blob_texts
FOR EACH ROW EXECUTE FUNCTION search_split_text()""",
        """CREATE OR REPLACE TRIGGER search_text AFTER INSERT OR UPDATE OF text ON blob_texts
FOR EACH ROW EXECUTE FUNCTION search_note_text()""",
    ]  # fmt: skip


def whole_of(file: str) -> str:
    """SQL of SQLite: all words of a file whose row goes by this name."""
    tags = f"(SELECT group_concat(value, ' ') FROM json_each({file}.tags))"  # noqa: S608  # nosec B608: names of ours
    body = f"(SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = {file}.sha256)"  # noqa: S608  # nosec B608: names of ours
    return (f"CASE WHEN {file}.description = '' AND json_array_length({file}.tags) = 0 AND {body} IS NULL THEN NULL"
            f" ELSE {file}.name || ' ' || {file}.description || ' ' || coalesce({tags}, '') || ' '"
            f" || coalesce({body}, '') END")  # fmt: skip


def sqlite_parts() -> list[str]:
    """The FTS5 table and the triggers of SQLite. The index reads its columns from search_entries."""
    columns = "(item_id, kind, owner_id, parent_id, named, whole)"
    note = (f"INSERT INTO search_entries {columns} SELECT NEW.id, 'file', NEW.owner_id, NEW.folder_id, NEW.name,"
            f" {whole_of('NEW')} WHERE NEW.deleted_at IS NULL;")  # fmt: skip
    note_folder = (f"INSERT INTO search_entries {columns} SELECT NEW.id, 'folder', NEW.owner_id, NEW.parent_id,"
                   " NEW.name, NULL WHERE NEW.deleted_at IS NULL;")  # fmt: skip
    forget = "DELETE FROM search_entries WHERE item_id = OLD.id;"
    texted = (f"UPDATE search_entries SET whole = (SELECT {whole_of('f')} FROM files f WHERE f.id = item_id) WHERE item_id"  # noqa: E501, S608  # nosec B608
              " IN (SELECT f.id FROM file_versions v JOIN files f ON f.id = v.file_id AND f.number = v.number"
              " WHERE v.blob_id = NEW.blob_id);")  # fmt: skip
    add = "INSERT INTO search_words (rowid, owner_id, named, whole) VALUES (NEW.item_id, NEW.owner_id, NEW.named, NEW.whole);"  # noqa: E501
    take = ("INSERT INTO search_words (search_words, rowid, owner_id, named, whole)"
            " VALUES ('delete', OLD.item_id, OLD.owner_id, OLD.named, OLD.whole);")  # fmt: skip
    triggers = {
        "search_file_new AFTER INSERT ON files": note,
        "search_file AFTER UPDATE OF name, description, tags, folder_id, sha256, deleted_at ON files": f"{forget} {note}",  # noqa: E501
        "search_file_gone AFTER DELETE ON files": forget,
        "search_folder_new AFTER INSERT ON folders": note_folder,
        "search_folder AFTER UPDATE OF name, parent_id, deleted_at ON folders": f"{forget} {note_folder}",
        "search_folder_gone AFTER DELETE ON folders": forget,
        "search_text_new AFTER INSERT ON blob_texts": texted,
        "search_text AFTER UPDATE OF text ON blob_texts": texted,
        "search_entry_new AFTER INSERT ON search_entries": add,
        "search_entry AFTER UPDATE ON search_entries": f"{take} {add}",
        "search_entry_gone AFTER DELETE ON search_entries": take,
    }
    index = ("CREATE VIRTUAL TABLE IF NOT EXISTS search_words USING fts5(owner_id, named, whole, content='search_entries',"  # noqa: E501
             " content_rowid='item_id', tokenize='unicode61 remove_diacritics 2', prefix='2 3')")  # fmt: skip
    return [index, *(f"CREATE TRIGGER IF NOT EXISTS {head} BEGIN {body} END" for head, body in triggers.items())]


@event.listens_for(Base.metadata, "after_create")
def _make_parts(_metadata: MetaData, connection: Connection, **_: Any) -> None:
    """What no model can declare, where tables are made from the models; the migrations write it out."""
    if connection.dialect.name == "sqlite":
        parts = sqlite_parts()
    else:
        parts = postgresql_parts(lowering(connection))
    for part in parts:
        connection.exec_driver_sql(part)


def lowering(connection: Connection) -> str:
    """How to make letters of every script small: by ICU's root locale where the server has it."""
    found = connection.exec_driver_sql("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'").first()
    return 'lower(plain COLLATE "und-x-icu")' if found else "lower(plain)"
