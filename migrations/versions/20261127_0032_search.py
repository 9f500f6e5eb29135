# ruff: noqa: E501 (statements of the database, as they were written)
"""Full-text search: text found in stored content, and an index of names, tags, descriptions and text kept by triggers.

Revision 0032, after 0031.
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS = sa.Text().with_variant(TSVECTOR(), "postgresql")
# Functions and triggers; {lower} is how letters are made small.
POSTGRESQL = (
    """CREATE OR REPLACE FUNCTION search_fold(given text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT translate({lower}, '!"#$&''()*+,-./:;<=>?@[\\]^_`{|}~\t\n\r\v\f\u00a0«»·\u2010\u2011–—‘’“”„…、。「」『』（），：；！？' || chr(37), repeat(' ', 64))
  FROM (SELECT regexp_replace(normalize(given, NFKD), '[\\u0300-\\u036f]', '', 'g') AS plain) AS folded $$""",
    """CREATE OR REPLACE FUNCTION search_words(given text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_to_tsvector(ARRAY(SELECT DISTINCT left(word, 60)
    FROM unnest(string_to_array(search_fold(given), ' ')) AS word WHERE word <> '')) $$""",
    """CREATE OR REPLACE FUNCTION search_whole(name text, about text, tags jsonb, body tsvector) RETURNS tsvector
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN about = '' AND tags = '[]' AND body IS NULL THEN NULL
    ELSE search_words(concat_ws(' ', name, about, (SELECT string_agg(tag, ' ') FROM jsonb_array_elements_text(tags) AS tag)))
      || coalesce(body, ''::tsvector) END $$""",
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
ON files FOR EACH ROW EXECUTE FUNCTION search_note_file()""",
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
)
SQLITE = (
    """CREATE VIRTUAL TABLE IF NOT EXISTS search_words USING fts5(owner_id, named, whole, content='search_entries', content_rowid='item_id', tokenize='unicode61 remove_diacritics 2', prefix='2 3')""",
    """CREATE TRIGGER IF NOT EXISTS search_file_new AFTER INSERT ON files BEGIN INSERT INTO search_entries (item_id, kind, owner_id, parent_id, named, whole) SELECT NEW.id, 'file', NEW.owner_id, NEW.folder_id, NEW.name, CASE WHEN NEW.description = '' AND json_array_length(NEW.tags) = 0 AND (SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = NEW.sha256) IS NULL THEN NULL ELSE NEW.name || ' ' || NEW.description || ' ' || coalesce((SELECT group_concat(value, ' ') FROM json_each(NEW.tags)), '') || ' ' || coalesce((SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = NEW.sha256), '') END WHERE NEW.deleted_at IS NULL; END""",
    """CREATE TRIGGER IF NOT EXISTS search_file AFTER UPDATE OF name, description, tags, folder_id, sha256, deleted_at ON files BEGIN DELETE FROM search_entries WHERE item_id = OLD.id; INSERT INTO search_entries (item_id, kind, owner_id, parent_id, named, whole) SELECT NEW.id, 'file', NEW.owner_id, NEW.folder_id, NEW.name, CASE WHEN NEW.description = '' AND json_array_length(NEW.tags) = 0 AND (SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = NEW.sha256) IS NULL THEN NULL ELSE NEW.name || ' ' || NEW.description || ' ' || coalesce((SELECT group_concat(value, ' ') FROM json_each(NEW.tags)), '') || ' ' || coalesce((SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = NEW.sha256), '') END WHERE NEW.deleted_at IS NULL; END""",
    """CREATE TRIGGER IF NOT EXISTS search_file_gone AFTER DELETE ON files BEGIN DELETE FROM search_entries WHERE item_id = OLD.id; END""",
    """CREATE TRIGGER IF NOT EXISTS search_folder_new AFTER INSERT ON folders BEGIN INSERT INTO search_entries (item_id, kind, owner_id, parent_id, named, whole) SELECT NEW.id, 'folder', NEW.owner_id, NEW.parent_id, NEW.name, NULL WHERE NEW.deleted_at IS NULL; END""",
    """CREATE TRIGGER IF NOT EXISTS search_folder AFTER UPDATE OF name, parent_id, deleted_at ON folders BEGIN DELETE FROM search_entries WHERE item_id = OLD.id; INSERT INTO search_entries (item_id, kind, owner_id, parent_id, named, whole) SELECT NEW.id, 'folder', NEW.owner_id, NEW.parent_id, NEW.name, NULL WHERE NEW.deleted_at IS NULL; END""",
    """CREATE TRIGGER IF NOT EXISTS search_folder_gone AFTER DELETE ON folders BEGIN DELETE FROM search_entries WHERE item_id = OLD.id; END""",
    """CREATE TRIGGER IF NOT EXISTS search_text_new AFTER INSERT ON blob_texts BEGIN UPDATE search_entries SET whole = (SELECT CASE WHEN f.description = '' AND json_array_length(f.tags) = 0 AND (SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = f.sha256) IS NULL THEN NULL ELSE f.name || ' ' || f.description || ' ' || coalesce((SELECT group_concat(value, ' ') FROM json_each(f.tags)), '') || ' ' || coalesce((SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = f.sha256), '') END FROM files f WHERE f.id = item_id) WHERE item_id IN (SELECT f.id FROM file_versions v JOIN files f ON f.id = v.file_id AND f.number = v.number WHERE v.blob_id = NEW.blob_id); END""",
    """CREATE TRIGGER IF NOT EXISTS search_text AFTER UPDATE OF text ON blob_texts BEGIN UPDATE search_entries SET whole = (SELECT CASE WHEN f.description = '' AND json_array_length(f.tags) = 0 AND (SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = f.sha256) IS NULL THEN NULL ELSE f.name || ' ' || f.description || ' ' || coalesce((SELECT group_concat(value, ' ') FROM json_each(f.tags)), '') || ' ' || coalesce((SELECT t.text FROM blobs b JOIN blob_texts t ON t.blob_id = b.id WHERE b.sha256 = f.sha256), '') END FROM files f WHERE f.id = item_id) WHERE item_id IN (SELECT f.id FROM file_versions v JOIN files f ON f.id = v.file_id AND f.number = v.number WHERE v.blob_id = NEW.blob_id); END""",
    """CREATE TRIGGER IF NOT EXISTS search_entry_new AFTER INSERT ON search_entries BEGIN INSERT INTO search_words (rowid, owner_id, named, whole) VALUES (NEW.item_id, NEW.owner_id, NEW.named, NEW.whole); END""",
    """CREATE TRIGGER IF NOT EXISTS search_entry AFTER UPDATE ON search_entries BEGIN INSERT INTO search_words (search_words, rowid, owner_id, named, whole) VALUES ('delete', OLD.item_id, OLD.owner_id, OLD.named, OLD.whole); INSERT INTO search_words (rowid, owner_id, named, whole) VALUES (NEW.item_id, NEW.owner_id, NEW.named, NEW.whole); END""",
    """CREATE TRIGGER IF NOT EXISTS search_entry_gone AFTER DELETE ON search_entries BEGIN INSERT INTO search_words (search_words, rowid, owner_id, named, whole) VALUES ('delete', OLD.item_id, OLD.owner_id, OLD.named, OLD.whole); END""",
)
FUNCTIONS = ("search_note_text()", "search_split_text()", "search_forget()", "search_note_folder()", "search_note_file()",
             "search_whole(text, text, jsonb, tsvector)", "search_words(text)", "search_fold(text)")  # fmt: skip
TRIGGERS = {"files": ("search_file", "search_file_gone", "search_file_new"),
            "folders": ("search_folder", "search_folder_gone", "search_folder_new")}  # fmt: skip


def upgrade() -> None:
    """Make the tables, fill the index, and only then have it follow: writers wait for no more than the last step."""
    op.create_table(
        "blob_texts",
        sa.Column("blob_id", BIG, autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("words", WORDS, nullable=True),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["blob_id"], ["blobs.id"], name=op.f("fk_blob_texts_blob_id_blobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("blob_id", name=op.f("pk_blob_texts")),
    )
    op.create_table(
        "search_entries",
        sa.Column("item_id", BIG, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("owner_id", BIG, nullable=False),
        sa.Column("parent_id", BIG, nullable=True),
        sa.Column("named", WORDS, nullable=False),
        sa.Column("whole", WORDS, nullable=True),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_search_entries")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _follow_postgresql()
    else:
        _follow_sqlite()
    op.create_index("ix_search_entries_owner_id", "search_entries", ["owner_id", "item_id"])
    op.create_index("ix_search_entries_parent_id", "search_entries", ["parent_id", "item_id"])


def _follow_postgresql() -> None:
    lower = "lower(plain)"
    if (
        not context.is_offline_mode()
        and op.get_bind().execute(sa.text("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'")).first()
    ):
        lower = 'lower(plain COLLATE "und-x-icu")'
    functions = [part for part in POSTGRESQL if "FUNCTION search" in part and "TRIGGER search" not in part]
    for part in functions:
        op.execute(part.replace("{lower}", lower))
    op.execute(
        "INSERT INTO search_entries (item_id, kind, owner_id, parent_id, named, whole) SELECT id, 'file', owner_id,"
        " folder_id, search_words(name), search_whole(name, description, tags, NULL) FROM files WHERE deleted_at IS NULL"
    )
    op.execute(
        "INSERT INTO search_entries (item_id, kind, owner_id, parent_id, named) SELECT id, 'folder', owner_id,"
        " parent_id, search_words(name) FROM folders WHERE deleted_at IS NULL"
    )
    for column in ("named", "whole"):
        op.create_index(f"ix_search_entries_{column}", "search_entries", [column], postgresql_using="gin",
                        postgresql_with={"fastupdate": "off"})  # fmt: skip
    for part in POSTGRESQL:
        if part not in functions:
            op.execute(part)
    # What was written while the index was filled: seen now, and touched, so that the triggers take it in.
    since = "updated_at >= now() - interval '1 minute'"
    op.execute(f"UPDATE files SET name = name WHERE {since}")
    op.execute(f"UPDATE folders SET name = name WHERE {since}")


def _follow_sqlite() -> None:
    for part in SQLITE:
        op.execute(part)
    op.execute("UPDATE files SET name = name")
    op.execute("UPDATE folders SET name = name")


def downgrade() -> None:
    """Take all of it back."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table, names in TRIGGERS.items():
        for name in names:
            if sqlite:
                op.execute(f"DROP TRIGGER {name}")
            elif not name.endswith("_new"):
                op.execute(f"DROP TRIGGER {name} ON {table}")
    op.drop_table("search_entries")
    op.drop_table("blob_texts")
    if sqlite:
        op.execute("DROP TABLE search_words")
        return
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
