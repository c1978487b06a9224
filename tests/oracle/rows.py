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
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if isinstance(a, numbers) and isinstance(b, numbers) and not isinstance(a, bool):
        if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
            return math.isnan(b)
        if isinstance(a, Decimal) and isinstance(b, Decimal):
            scale = min(-a.as_tuple().exponent, -b.as_tuple().exponent)
            return abs(a - b) <= Decimal(1).scaleb(-scale)
        # DataFusion rounds avg(decimal) at scale + 4, where others answer a float.
        loose = 1e-4 if isinstance(a, Decimal) != isinstance(b, Decimal) else 0.0
        return math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=loose)
    return bool(a == b)


def coarse_row(row: tuple[Any, ...]) -> tuple[str, ...]:
    """Sorts numbers by a coarse text, so that rows that differ in a last digit still stand side by side; what is exact
    decides where that leaves a tie."""

    def coarse(value: Any) -> str:
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return f"{float(value) + 0.0:+.6e}"
        return str(value)

    return (*map(coarse, row), *(str(value) for value in row if isinstance(value, (int, Decimal))))


def assert_same_rows(
    got: Iterable[tuple[Any, ...]], wanted: Iterable[tuple[Any, ...]], what: str = "", *, in_order: bool = False
) -> None:
    """Fails with the first row that differs."""
    got = [tuple(map(_plain, row)) for row in got]
    wanted = [tuple(map(_plain, row)) for row in wanted]
    assert len(got) == len(wanted), f"{what}: {len(got)} rows, expected {len(wanted)}"
    if not in_order:
        got, wanted = sorted(got, key=coarse_row), sorted(wanted, key=coarse_row)
    for ours, theirs in zip(got, wanted, strict=True):
        assert len(ours) == len(theirs) and all(map(_same, ours, theirs)), f"{what}:\n  {ours}\n  {theirs}"
