"""What a statement returns: a lazy stream of Arrow batches with many ways out."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _apiary

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

ROWS_SHOWN_MAX = 40


@dataclass(frozen=True)
class QueryStats:
    """The line under a result: what it took."""

    rows: int
    elapsed_ms: float
    cells_read: int
    cells_total: int
    get_requests: int
    bytes_read: int
    nodes: int
    execution: str
    execution_reason: str
    stages: int
    tasks: int
    retries: int
    bytes_cached: int


class Result:
    """A lazy result. It can be taken once as a stream; the `to_…` methods remember what they took.

    Every way out works without any package but the one it names.
    """

    def __init__(self, query: _apiary.Query) -> None:
        self._query = query
        self._table: _apiary.Batches | None = None

    @property
    def query_id(self) -> str:
        """The id under which the colony knows the query."""
        return self._query.query_id

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return self._query.columns()

    @property
    def stats(self) -> QueryStats:
        """What the statement took; takes the rest of the result first."""
        self._collected()
        return QueryStats(**self._query.stats())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        if self._table is not None:
            return self._table.__arrow_c_stream__(requested_schema)
        return self._query.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._query.__arrow_c_schema__()

    def _collected(self) -> _apiary.Batches:
        if self._table is None:
            self._table = self._query.collect()
        return self._table

    def to_arrow(self) -> pyarrow.Table:
        """A `pyarrow.Table`."""
        import pyarrow

        return pyarrow.table(self._collected())

    def to_polars(self) -> polars.DataFrame:
        """A `polars.DataFrame`."""
        import polars

        return polars.DataFrame(self._collected())

    def to_pandas(self) -> pandas.DataFrame:
        """A `pandas.DataFrame`; with pyarrow if it is there, else through Python lists."""
        import pandas

        try:
            return self.to_arrow().to_pandas()
        except ImportError:
            return pandas.DataFrame(self.to_pydict(), columns=self.columns)

    def to_pylist(self) -> list[dict[str, Any]]:
        """A list of dicts, one a row. Columns of one name: the last wins; `fetchall` keeps them all."""
        names = self.columns
        return [dict(zip(names, row, strict=True)) for row in self.fetchall()]

    def to_pydict(self) -> dict[str, list[Any]]:
        """A dict of lists, one a column."""
        rows = self.fetchall()
        return {name: [row[i] for row in rows] for i, name in enumerate(self.columns)}

    def fetchall(self) -> list[tuple[Any, ...]]:
        """A list of tuples, one a row."""
        return self._collected().rows()

    def fetchone(self) -> tuple[Any, ...] | None:
        """The first row, or `None`."""
        rows = self.fetchall()
        return rows[0] if rows else None

    def scalar(self) -> Any:
        """The first value of the first row, or `None` where there is no row."""
        row = self.fetchone()
        return row[0] if row else None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchall())

    def __len__(self) -> int:
        return self._collected().num_rows

    def __bool__(self) -> bool:
        return True

    def show(self, rows: int = ROWS_SHOWN_MAX) -> None:
        """Prints the first rows and the line under them; of an `EXPLAIN` the whole plan."""
        print(self._plan() or f"{self._collected().render(rows)}\n{self.footer()}")

    def footer(self) -> str:
        """The one line under the result."""
        return self._query.footer()

    def cancel(self) -> None:
        """Cancels the query; taking the rest raises `QueryCancelled`."""
        self._query.cancel()

    def _plan(self) -> str | None:
        """The lines of an `EXPLAIN`; nothing for other results."""
        if self.columns != ["plan"]:
            return None
        lines = [line for (line,) in self.fetchall()]
        return "\n".join(lines) if lines and all(isinstance(line, str) for line in lines) else None

    def __repr__(self) -> str:
        return self._plan() or f"{self._collected().render(ROWS_SHOWN_MAX)}\n{self.footer()}"

    def _repr_html_(self) -> str:
        if plan := self._plan():
            return f"<pre>{html.escape(plan)}</pre>"
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        shown = self.fetchall()[:ROWS_SHOWN_MAX]
        cell = lambda value: f"<td>{'' if value is None else html.escape(str(value))}</td>"  # noqa: E731
        body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in shown)
        foot = html.escape(self.footer())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><small>{foot}</small>"
