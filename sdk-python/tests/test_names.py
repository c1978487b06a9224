"""Hives, boxes and frames are created, renamed and dropped, in Python and in SQL, over both transports."""

from __future__ import annotations

import uuid

import apiary
import pytest
from apiary import Apiary


@pytest.fixture
def hive(ap: Apiary) -> apiary.Hive:
    """A hive of its own."""
    return ap.create_hive(f"names{uuid.uuid4().hex[:8]}")


def test_a_frame_keeps_its_rows_under_another_name(ap: Apiary, hive: apiary.Hive) -> None:
    frame = hive.create_box("b").create_frame("t", {"x": "int64"})
    frame.write([{"x": 1}, {"x": 2}])
    assert frame.rename("My Frame") is frame
    assert (frame.path, frame.count()) == (f"{hive.name}.b.My Frame", 2)
    with pytest.raises(apiary.NotFoundError) as caught:
        ap.sql(f"SELECT * FROM {hive.name}.b.t").fetchall()
    assert caught.value.hint == f"it was renamed to {hive.name}.b.My Frame"
    frame.rename("MY FRAME")
    assert [f.name for f in hive.box("b").frames()] == ["MY FRAME"]
    hive.create_box("c")
    frame.rename(f"{hive.name}.c.t")
    hive.box("c").rename("d")
    old, new = hive.name, hive.name + "x"
    hive.rename(new)
    assert ap.sql(f"SELECT sum(x) FROM {new}.d.t").scalar() == 3
    assert ap.frame(f"{new}.d.t").write([{"x": 3}]).version == 2
    with pytest.raises(apiary.NotFoundError):
        ap.frame(f"{old}.c.t").write([{"x": 3}])


def test_a_name_that_is_taken_is_refused(ap: Apiary, hive: apiary.Hive) -> None:
    box = hive.create_box("b")
    one, _ = box.create_frame("one", {"x": "int64"}), box.create_frame("two", {"x": "int64"})
    with pytest.raises(apiary.AlreadyExistsError):
        one.rename("TWO")
    assert one.name == "one" and one.count() == 0
    with pytest.raises(apiary.NotFoundError):
        one.rename(f"{hive.name}.none.one")
    with pytest.raises(apiary.InvalidInputError):
        one.rename("a.b")


def test_what_is_dropped_is_gone_and_its_name_is_free(ap: Apiary, hive: apiary.Hive) -> None:
    box = hive.create_box("b")
    frame = box.create_frame("t", {"x": "int64"})
    frame.write([{"x": 1}])
    with pytest.raises(apiary.InvalidInputError) as caught:
        box.drop()
    assert "not empty" in str(caught.value)
    assert frame.drop() is True
    for call in (frame.count, frame.describe, frame.drop, lambda: frame.write([{"x": 1}])):
        with pytest.raises(apiary.NotFoundError):
            call()
    assert frame.drop(if_exists=True) is False
    again = box.create_frame("t", {"y": "string"})
    assert (again.count(), list(again.describe().columns)) == (0, ["y"])
    with pytest.raises(apiary.InvalidInputError):
        hive.drop()
    assert hive.drop(cascade=True) is True
    assert hive.name not in [h.name for h in ap.hives()]
    assert (hive.drop(if_exists=True), box.drop(cascade=True, if_exists=True)) == (False, False)


def test_the_flat_names_and_the_plain_words_do_the_same(ap: Apiary, hive: apiary.Hive) -> None:
    name = hive.name + "db"
    ap.create_database(name)
    ap.create_schema(name, "s")
    table = ap.create_table(name, "s", "t", {"x": "int64"})
    assert ap.rename_table(name, "s", table, "u").path == f"{name}.s.u"
    assert ap.rename_schema(name, "s", "r").name == "r"
    assert ap.rename_hive(name, name + "2").name == name + "2"
    assert ap.drop_table(name + "2", "r", "u")
    assert ap.drop_box(name + "2", "r")
    assert ap.drop_database(name + "2")
    assert not ap.drop_hive(name + "2", if_exists=True)


def test_statements_take_effect_when_they_are_sent(ap: Apiary, hive: apiary.Hive) -> None:
    ap.use_hive(hive.name)
    ap.sql("CREATE SCHEMA b")
    ap.use_box("b")
    ap.sql('CREATE TABLE t (id BIGINT NOT NULL, "Kind" TEXT, price DECIMAL(9, 2)) PARTITIONED BY (kind)')
    frame = ap.frame("t")
    described = frame.describe()
    assert described.columns == {"id": "int64 not null", "Kind": "string", "price": "decimal(9,2)"}
    assert described.partition_by == ["Kind"]
    frame.write([{"id": 1, "Kind": "a", "price": None}])
    ap.sql("ALTER TABLE t RENAME TO u")
    assert ap.sql("SELECT kind FROM u").fetchall() == [("a",)]
    ap.sql(f"ALTER DATABASE {hive.name} RENAME TO {hive.name}y")
    assert ap.sql("SELECT count(*) FROM u").scalar() == 1
    hive.name += "y"
    ap.sql("DROP TABLE u")
    assert ap.sql("SHOW FRAMES").fetchall() == []
    ap.sql("DROP TABLE IF EXISTS u")
    with pytest.raises(apiary.NotFoundError) as caught:
        ap.sql("DROP TABLE u")
    assert "DROP TABLE u" in str(caught.value) and "^" in str(caught.value)
    ap.sql("DROP SCHEMA b")
    with pytest.raises(apiary.NotFoundError) as caught:
        ap.sql("SELECT * FROM u")
    assert "which this session uses" in str(caught.value)


def test_names_without_a_hive_or_box_are_in_main(ap: Apiary) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"
    ap.sql(f"CREATE TABLE {name} (x INT)")
    frame = ap.frame(name)
    assert frame.path == f"main.main.{name}"
    frame.write([{"x": 7}])
    assert ap.sql(f"SELECT x FROM {name}").scalar() == 7
    assert ap.frame(f"main.{name}").count() == 1
    assert (("main", "main", name)) in ap.sql("SHOW FRAMES").fetchall()
    assert frame.drop()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a.b", " a", "a ", "-a", "a\x00b", "%2e%2e", "x" * 256, "é" * 128]
)
def test_a_name_that_tries_to_be_a_path_is_refused(ap: Apiary, hive: apiary.Hive, name: str) -> None:
    box = hive.create_box("b")
    with pytest.raises(apiary.InvalidInputError):
        box.create_frame(name, {"x": "int64"})
    with pytest.raises(apiary.InvalidInputError):
        hive.create_box(name)
    with pytest.raises(apiary.InvalidInputError):
        ap.create_hive(name)
    with pytest.raises(apiary.ApiaryError):
        ap.sql(f"CREATE FRAME {hive.name}.b.\"{name}\" (x INT)")
    assert box.frames() == []


@pytest.mark.parametrize("name", ["Select", "two words", "日本", "x" * 255, "_x", "9", "if", "e\u0301te\u0301"])
def test_any_other_name_works_in_any_case(ap: Apiary, hive: apiary.Hive, name: str) -> None:
    frame = hive.create_box(name).create_frame(name, {"x": "int64"})
    frame.write([{"x": 1}])
    shouted = name.upper()
    sql = f'SELECT sum(x) FROM {hive.name}."{shouted}"."{shouted}"'
    assert (frame.count(), ap.sql(sql).scalar()) == (1, 1)
    ap.sql(f'ALTER FRAME {hive.name}."{shouted}"."{shouted}" RENAME TO "{shouted}"')
    assert ap.sql(sql).scalar() == 1
    ap.sql(f'DROP BOX {hive.name}."{name}" CASCADE')
    assert hive.boxes() == []
