"""Random tables and random statements over them, from one seed.

What is asked has one right answer: every table has a column `id` of its own numbers, LIMIT stands only behind an ORDER BY
of it, floats are never added up, and numbers that are added stay far from their type's end. Values come mostly from small
domains, so that joins meet and groups form; the rest are NULLs, extremes and neighbours of what statistics cut off."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

EPOCH = dt.datetime(2024, 1, 1)
LONG = "the same long beginning, longer than any bound that is kept " * 2
WORDS = ["", "a", "b", "ab", "abc", "b%", "_", "Z", "é", "ß", LONG + "1", LONG + "2", "\U0001f41d"]


@dataclass(frozen=True)
class Kind:
    """A type: its Arrow type, its class (what may be compared with what), common values and extremes."""

    arrow: pa.DataType
    family: str
    common: list[Any]
    extreme: list[Any]


def _integer(bits: int, signed: bool) -> Kind:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    extreme = [low, high, low + 1, high - 1, *([2**53, 2**53 + 1] if bits == 64 else [])]
    name = f"{'' if signed else 'u'}int{bits}"
    return Kind(getattr(pa, name)(), "int", [n for n in range(-4, 12) if n >= low], extreme)


FLOATS = [float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 1e30, -1e30, 1e-30]
KINDS = {
    **{f"i{bits}": _integer(bits, True) for bits in (8, 16, 32, 64)},
    **{f"u{bits}": _integer(bits, False) for bits in (8, 16, 32, 64)},
    "f32": Kind(pa.float32(), "float", [n / 4 for n in range(-6, 8)], FLOATS),
    "f64": Kind(pa.float64(), "float", [n / 4 for n in range(-6, 8)], [*FLOATS, 1e308, -1e308, 5e-324]),
    "d9": Kind(pa.decimal128(9, 2), "decimal", [Decimal(n) / 4 for n in range(-6, 9)],
               [Decimal("9999999.99"), Decimal("-9999999.99")]),
    "d18": Kind(pa.decimal128(18, 3), "decimal", [Decimal(n) / 2 for n in range(-6, 9)],
                [Decimal("999999999999999.999"), Decimal("-999999999999999.999"), Decimal("0.001")]),
    "d30": Kind(pa.decimal128(30, 4), "decimal", [Decimal(n) / 2 for n in range(-6, 9)],
                [Decimal(10**25), Decimal(-(10**25)), Decimal("0.0001")]),
    "date": Kind(pa.date32(), "date", [dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(12)],
                 [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1969, 12, 31)]),
    "ts": Kind(pa.timestamp("us"), "ts", [EPOCH + dt.timedelta(hours=n) for n in range(12)],
               [dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), EPOCH + dt.timedelta(microseconds=1)]),
    "ms": Kind(pa.timestamp("ms"), "ts", [EPOCH + dt.timedelta(hours=n) for n in range(12)],
               [dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), EPOCH + dt.timedelta(milliseconds=1)]),
    "text": Kind(pa.string(), "text", WORDS[1:9], WORDS),
    "bool": Kind(pa.bool_(), "bool", [True, False], [True, False]),
    "bytes": Kind(pa.binary(), "bytes", [b"a", b"b", b"ab"], [b"", b"\x00", b"\xff\xff"]),
}  # fmt: skip
PARTITIONED = ["i32", "text", "date", "bool"]


@dataclass
class Table:
    name: str
    kinds: dict[str, Kind]
    partition_by: list[str]
    pieces: list[pa.Table]

    def columns(self, family: str) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind.family == family]


def _value(rng: random.Random, kind: Kind, null: float) -> Any:
    if rng.random() < null:
        return None
    return rng.choice(kind.extreme if rng.random() < 0.08 else kind.common)


def table(rng: random.Random, name: str) -> Table:
    kinds = {f"{kind}_{n}": KINDS[kind] for n, kind in enumerate(rng.choices(list(KINDS), k=rng.randrange(3, 9)))}
    partition_by: list[str] = []
    if rng.random() < 0.4:
        partition_by = [f"p_{kind}" for kind in rng.sample(PARTITIONED, rng.choice([1, 1, 2]))]
        kinds |= {column: KINDS[column[2:]] for column in partition_by}
    pieces, start = [], 0
    for _ in range(rng.choice([0, 1, 1, 2, 3, 4])):
        rows = rng.choice([1, 7, 60, 250])
        null = rng.choice([0.0, 0.1, 0.5, 1.0])
        columns = {"id": pa.array(range(start, start + rows), pa.int64())}
        for column, kind in kinds.items():
            empty = kind.family == "text"  # an empty text is no partition value
            values = [v for v in kind.common if v != ""] if column in partition_by and empty else None
            columns[column] = pa.array(
                [rng.choice(values or kind.common[:4]) if column in partition_by else _value(rng, kind, null)
                 for _ in range(rows)], kind.arrow)  # fmt: skip
        pieces.append(pa.table(columns))
        start += rows
    schema = pa.schema([("id", pa.int64()), *((column, kind.arrow) for column, kind in kinds.items())])
    return Table(name, kinds, partition_by, pieces or [schema.empty_table()])


def literal(value: Any, kind: Kind) -> str:
    """The value as SQL."""
    if value is None:
        return "NULL"
    if kind.family == "float":
        return f"CAST('{value}' AS DOUBLE)"
    if kind.family == "decimal":
        return f"CAST('{value}' AS DECIMAL({kind.arrow.precision}, {kind.arrow.scale}))"
    if kind.family == "date":
        return f"DATE '{value.isoformat()}'"
    if kind.family == "ts":
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    if kind.family == "bytes":
        return f"X'{value.hex()}'"
    if kind.family == "bool":
        return str(value).lower()
    if kind.family == "text":
        return "'" + value.replace("'", "''") + "'"
    return str(value)


class Statements:
    """Statements over some tables."""

    def __init__(self, rng: random.Random, tables: list[Table]) -> None:
        self.rng = rng
        self.tables = tables

    def pick(self) -> Table:
        return self.rng.choice(self.tables)

    def constant(self, kind: Kind) -> str:
        return literal(self.rng.choice(kind.common * 3 + kind.extreme), kind)

    def predicate(self, table: Table, alias: str, depth: int = 2) -> str:
        """A condition on one row of `table`, by the name of `alias`."""
        rng = self.rng
        if depth and rng.random() < 0.5:
            left, right = (self.predicate(table, alias, depth - 1) for _ in range(2))
            return rng.choice([f"({left} AND {right})", f"({left} OR {right})", f"(NOT ({left}))"])
        column, kind = rng.choice([("id", KINDS["i64"]), *table.kinds.items()])
        name = f"{alias}.{column}"
        operator = rng.choice(["=", "<>", "<", "<=", ">", ">="])
        ways = [
            f"{name} {operator} {self.constant(kind)}",
            f"{name} {operator} {self.constant(kind)}",
            f"{name} BETWEEN {self.constant(kind)} AND {self.constant(kind)}",
            f"{name} IN ({', '.join(self.constant(kind) for _ in range(rng.randrange(1, 5)))})",
            f"{name} NOT IN ({self.constant(kind)}, {self.constant(kind)})",
            f"{name} IS NULL",
            f"{name} IS NOT NULL",
            f"({name} IS DISTINCT FROM {self.constant(kind)})",
            f"({name} IS NOT DISTINCT FROM {self.constant(kind)})",
            f"coalesce({name}, {self.constant(kind)}) {operator} {self.constant(kind)}",
            f"CASE WHEN {name} IS NULL THEN {self.constant(kind)} ELSE {name} END {operator} {self.constant(kind)}",
            *(f"{name} {operator} {alias}.{other}" for other in table.columns(kind.family)),
        ]
        if kind.family == "text":
            pattern = rng.choice(["a%", "%b", "_", "%", "ab_", LONG + "%", "é%", "b\\%%"])
            ways += [f"{name} LIKE '{pattern}'", f"{name} NOT LIKE '{pattern}'", f"length({name}) > 1"] * 2
        if kind.family == "bool":
            ways += [name, f"NOT {name}", f"{name} IS NOT TRUE"]
        if kind.family == "int" and column != "id":
            ways += [f"CAST({name} AS DECIMAL(20, 0)) + 1 {operator} 5", f"{name} % 3 = 1"]
        return rng.choice(ways)

    def where(self, table: Table, alias: str, share: float = 0.7) -> str:
        return f" WHERE {self.predicate(table, alias)}" if self.rng.random() < share else ""

    def aggregates(self, table: Table, alias: str) -> list[str]:
        rng = self.rng
        found = ["count(*)"]
        for column, kind in rng.sample(list(table.kinds.items()), min(3, len(table.kinds))):
            name = f"{alias}.{column}"
            ways = [f"count({name})", f"count(DISTINCT {name})"]
            # In groups DataFusion's max and min of floats depend on where a NaN comes: no right answer to compare with.
            if kind.family not in ("bool", "bytes", "float"):
                ways += [f"min({name})", f"max({name})"] * 2
            if kind.family == "int":
                ways += [f"sum(CAST({name} AS DECIMAL(20, 0)))", f"sum(DISTINCT {name} % 5)"]
            if kind.family == "decimal" and kind.arrow.precision < 30:
                ways += [f"sum({name})", f"sum({name}) FILTER (WHERE {self.predicate(table, alias, 0)})"]
            if kind.arrow == pa.decimal128(9, 2):
                ways += [f"avg({name})", f"sum({name} * {name})"]
            if kind.family == "bool":
                ways += [f"bool_and({name})", f"bool_or({name})"]
            found.append(rng.choice(ways))
        return found

    def grouped(self, source: str, table: Table, alias: str) -> str:
        rng = self.rng
        keys = [f"{alias}.{column}" for column in rng.sample(list(table.kinds), rng.choice([0, 1, 1, 2]))]
        columns = ", ".join(f"{sql} AS c{n}" for n, sql in enumerate(keys + self.aggregates(table, alias)))
        group = ""
        if keys:
            listed = ", ".join(keys)
            group = " GROUP BY " + rng.choice([listed, listed, f"ROLLUP ({listed})"])
            if rng.random() < 0.3:
                group += f" HAVING count(*) {rng.choice(['>', '<', '='])} {rng.randrange(1, 5)}"
        return f"SELECT {columns} FROM {source}{group}"

    def on(self, left: Table, right: Table) -> str | None:
        """An equality between columns of one type, or nothing where there is none."""
        pairs = [(a, b) for a, kind in left.kinds.items() for b, other in right.kinds.items()
                 if kind.family == other.family and kind.family != "float"]  # fmt: skip
        if not pairs:
            return None
        chosen = self.rng.sample(pairs, min(len(pairs), self.rng.choice([1, 1, 2])))
        return " AND ".join(f"a.{a} = b.{b}" for a, b in chosen)

    def joined(self) -> str | None:
        rng = self.rng
        left, right = self.pick(), self.pick()
        on = self.on(left, right)
        if on is None:
            return None
        kind = rng.choice(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"])
        if rng.random() < 0.3:
            on += f" AND {self.predicate(left, 'a', 0)}"
        source = f"{left.name} a {kind} {right.name} b ON {on}"
        if kind.startswith("LEFT ") and kind != "LEFT JOIN":
            return f"SELECT a.* FROM {source}{self.where(left, 'a', 0.4)}"
        where = rng.choice([self.where(left, "a"), self.where(right, "b")])
        if rng.random() < 0.3 and kind == "JOIN":
            third = self.pick()
            source += f" JOIN {third.name} c ON c.id = b.id"
        if rng.random() < 0.5:
            return self.grouped(source + where, left, "a")
        return f"SELECT count(*) AS n, count(a.id) AS l, count(b.id) AS r, min(a.id) AS x, max(b.id) AS y FROM {source}{where}"

    def ordered(self) -> str:
        table = self.pick()
        order = self.rng.choice([*table.kinds, "id"])
        way = self.rng.choice(["", " DESC", " NULLS FIRST", " DESC NULLS LAST"])
        limit = self.rng.choice(["", f" LIMIT {self.rng.randrange(30)}", f" LIMIT 9 OFFSET {self.rng.randrange(40)}"])
        return f"SELECT {order}, id FROM {table.name} t{self.where(table, 't')} ORDER BY {order}{way}, id{limit}"

    def nested(self) -> str:
        rng, outer, inner = self.rng, self.pick(), self.pick()
        pairs = [(a, b) for a, kind in outer.kinds.items() for b, other in inner.kinds.items()
                 if kind.arrow == other.arrow and kind.family not in ("float", "bytes")]  # fmt: skip
        column, other = rng.choice(pairs) if pairs else ("id", "id")
        condition = self.predicate(inner, "b")
        ways = [
            f"a.{column} IN (SELECT b.{other} FROM {inner.name} b WHERE {condition})",
            f"a.{column} NOT IN (SELECT b.{other} FROM {inner.name} b WHERE {condition} AND b.{other} IS NOT NULL)",
            f"a.{column} NOT IN (SELECT b.{other} FROM {inner.name} b WHERE {condition})",
            f"EXISTS (SELECT 1 FROM {inner.name} b WHERE b.{other} = a.{column} AND {condition})",
            f"NOT EXISTS (SELECT 1 FROM {inner.name} b WHERE b.{other} = a.{column} AND {condition})",
            f"a.id >= (SELECT count(*) FROM {inner.name} b WHERE b.{other} = a.{column} AND {condition})",
            f"a.id < (SELECT max(b.id) FROM {inner.name} b WHERE {condition})",
        ]
        return f"SELECT a.id FROM {outer.name} a WHERE {rng.choice(ways)} AND {self.predicate(outer, 'a', 1)}"

    def sets(self) -> str:
        rng, left, right = self.rng, self.pick(), self.pick()
        kinds = [(a, b) for a, kind in left.kinds.items() for b, other in right.kinds.items()
                 if kind.arrow == other.arrow]  # fmt: skip
        a, b = rng.choice(kinds) if kinds else ("id", "id")
        operator = rng.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"])
        return (f"SELECT t.{a} FROM {left.name} t{self.where(left, 't')} {operator} "
                f"SELECT t.{b} FROM {right.name} t{self.where(right, 't')}")  # fmt: skip

    def windowed(self) -> str:
        rng, table = self.rng, self.pick()
        part = rng.choice(["", *(f"PARTITION BY {column} " for column in table.kinds)])
        function = rng.choice(["row_number()", "count(*)", "lag(id)", "max(id)", "first_value(id)", "sum(id)"])
        return f"SELECT id, {function} OVER ({part}ORDER BY id) AS w FROM {table.name} t{self.where(table, 't')}"

    def plain(self) -> str:
        table = self.pick()
        columns = self.rng.sample(["id", *table.kinds], self.rng.randrange(1, len(table.kinds) + 2))
        distinct = self.rng.choice(["", "", "", "DISTINCT "])
        return f"SELECT {distinct}{', '.join(columns)} FROM {table.name} t{self.where(table, 't', 0.9)}"

    def next(self) -> str:
        way = self.rng.choice(["plain", "plain", "group", "group", "join", "join", "join", "order", "nest", "nest", "set", "window"])
        if way == "group":
            table = self.pick()
            return self.grouped(f"{table.name} t{self.where(table, 't')}", table, "t")
        if way == "join":
            return self.joined() or self.plain()
        return {"plain": self.plain, "order": self.ordered, "nest": self.nested, "set": self.sets, "window": self.windowed}[way]()
