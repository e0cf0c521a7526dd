"""Peers are there, or a test is skipped with the reason; in CI they are set up, or it fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import install
from tests.peers.site import Site


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "peers(*names): real clients that a test needs, as `tests.peers.install.find` knows them"
    )


@pytest.fixture(autouse=True)
def _peers(request: pytest.FixtureRequest) -> None:
    names = [name for mark in request.node.iter_markers("peers") for name in mark.args]
    missing = [reason for name in names if (reason := install.find(name))]
    if not missing:
        return
    if os.environ.get("CI") != "true":
        pytest.skip(missing[0])
    try:
        install.install()
    except install.NoPeer as reason:
        pytest.fail(str(reason))


@pytest.fixture
def site(tmp_path: Path, kafka_broker: dict[str, str]) -> Iterator[Site]:
    made = Site(tmp_path, kafka_broker["address"])
    try:
        yield made
    finally:
        made.close()
