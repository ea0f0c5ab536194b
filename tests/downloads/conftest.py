"""The portal that the tests of the download ask, and where its key lies."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from portal_server import Portal, serve


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    server = serve(portal)
    yield portal
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the portal's key where the gen3 tools look for it."""
    home = tmp_path / "home"
    (home / ".gen3").mkdir(parents=True)
    (home / ".gen3" / "credentials.json").write_text(json.dumps({"api_key": portal.api_key, "key_id": "1"}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("GEN3_API_KEY", raising=False)
    return home
