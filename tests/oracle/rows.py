"""Comparing rows of two engines: order aside, floats nearly, decimals at the coarser scale."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date()
    return value


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    numbers = (int, float, Decimal)
    if isinstance(a, numbers) and isinstance(b, numbers) and not isinstance(a, bool):
        if isinstance(a, Decimal) and isinstance(b, Decimal):
            scale = min(-a.as_tuple().exponent, -b.as_tuple().exponent)
            return abs(a - b) <= Decimal(1).scaleb(-scale)
        # DataFusion rounds avg(decimal) at scale + 4, where others answer a float.
        loose = 1e-4 if isinstance(a, Decimal) != isinstance(b, Decimal) else 0.0
        return math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=loose)
    return bool(a == b)


def _key(row: tuple[Any, ...]) -> tuple[str, ...]:
    # Numbers sort by a coarse text, so that rows that differ in a last digit still stand side by side.
    def coarse(value: Any) -> str:
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return f"{float(value):+.6e}"
        return str(value)

    return tuple(coarse(value) for value in row)


def assert_same_rows(got: Iterable[tuple[Any, ...]], wanted: Iterable[tuple[Any, ...]], what: str = "") -> None:
    """Fails with the first row that differs."""
    got = [tuple(map(_plain, row)) for row in got]
    wanted = [tuple(map(_plain, row)) for row in wanted]
    assert len(got) == len(wanted), f"{what}: {len(got)} rows, expected {len(wanted)}"
    for ours, theirs in zip(sorted(got, key=_key), sorted(wanted, key=_key), strict=True):
        assert len(ours) == len(theirs) and all(map(_same, ours, theirs)), f"{what}:\n  {ours}\n  {theirs}"
