"""One suite over both transports: `ap` is an embedded colony, then a coordinator of its own process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "oracle"))

from apiary import Apiary
from colony import Colony


@pytest.fixture(scope="session", params=["embedded", "remote"])
def session_ap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apiary]:
    folder = tmp_path_factory.mktemp(request.param)
    storage = (folder / "bucket").as_uri()
    if request.param == "embedded":
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("APIARY_HOME", str(folder / "apiary-home"))
            with Apiary("suite", storage=storage) as ap:
                yield ap
        return
    it = Colony(storage, folder)
    try:
        it.start("coordinator,worker,compactor")
        it.wait(1)
        with Apiary.connect(it.url) as ap:
            yield ap
    finally:
        it.stop()


@pytest.fixture
def ap(session_ap: Apiary, monkeypatch: pytest.MonkeyPatch) -> Apiary:
    """The session, with nothing said yet."""
    session_ap._hive = session_ap._box = ""
    session_ap._settings = {}
    return session_ap


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes below the user's own folder."""
    monkeypatch.setenv("APIARY_HOME", str(tmp_path / "apiary-home"))
