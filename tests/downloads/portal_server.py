"""A small Gen3-like portal on loopback: fence, index, guppy, sheepdog, and a bucket with signed addresses.

Faults are given for each object: what the n-th request to its address (`url`) or its bytes (`bytes`) meets.
"""

import base64
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SECRET_SIGNATURE = "c2VjcmV0LXNpZ25hdHVyZQ"
SECRET_KEY_PART = "YXBpLWtleS1zZWNyZXQ"
SECRET_TOKEN_PART = "YWNjZXNzLXRva2VuLXNlY3JldA"


def jwt(claims: dict[str, Any], signature: str) -> str:
    """An unsigned token of the form header.claims.signature."""
    parts = [json.dumps({"alg": "none"}), json.dumps(claims)]
    return ".".join([*(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts), signature])


@dataclass(kw_only=True)
class Stored:
    """One object of the portal."""

    content: bytes
    name: str | None = None
    md5: str | None = None
    size: int | None = None
    project: str = "Open/A1"
    forbidden: bool = False

    def record(self, object_id: str) -> dict[str, Any]:
        """As the index has it."""
        program, code = self.project.split("/")
        return {
            "did": object_id,
            "file_name": self.name,
            "size": len(self.content) if self.size is None else self.size,
            "hashes": {"md5": self.md5 or hashlib.md5(self.content).hexdigest()},
            "authz": [f"/programs/{program}/projects/{code}"],
            "urls": [f"s3://open-data/{object_id}/{self.name or 'nameless.zip'}"],
        }


@dataclass(kw_only=True)
class Asked:
    """One request that came in, and how many bytes of an object were sent for it."""

    kind: str
    name: str
    time_s: float
    range: str | None = None
    body: Any = None
    sent: int = 0


@dataclass(kw_only=True)
class Portal:
    """What the portal holds, how it behaves, and what it was asked."""

    objects: dict[str, Stored] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    nodes: dict[tuple[str, str], bytes] = field(default_factory=dict)
    faults: dict[tuple[str, str], Iterator[Any]] = field(default_factory=dict)
    key_is_refused: bool = False
    known_fields: tuple[str, ...] = ("object_id", "file_name", "file_size", "md5sum", "project_id")
    chunk_pause_s: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    url: str = ""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def fail(self, kind: str, name: str, faults: Iterable[Any]) -> None:
        """Let the next requests of this kind meet these faults: a status, (status, headers) or a text."""
        self.faults[kind, name] = iter(faults)

    def of(self, kind: str, name: str | None = None) -> list[Asked]:
        """The requests of this kind, in the order in which they came."""
        return [asked for asked in self.asked if asked.kind == kind and name in (None, asked.name)]

    @property
    def api_key(self) -> str:
        """A key as the portal makes it."""
        return jwt({"iss": f"{self.url}/user", "exp": int(time.time()) + 86400}, SECRET_KEY_PART)

    def signed(self, object_id: str) -> str:
        """A signed address of an object."""
        return f"{self.url}/bucket/{object_id}?X-Amz-Signature={SECRET_SIGNATURE}&n={next(self._numbers)}"

    def new_token(self) -> str:
        """An access token that lives 20 minutes."""
        claims = {"iss": f"{self.url}/user", "exp": int(time.time()) + 1200, "n": next(self._numbers)}
        token = jwt(claims, SECRET_TOKEN_PART)
        self.tokens.add(token)
        return token


class _Handler(BaseHTTPRequestHandler):
    portal: Portal
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path, portal = urlsplit(self.path).path, self.portal
        if path == "/user/credentials/cdis/access_token":
            if self._meets("token", ""):
                return
            if portal.key_is_refused or body.get("api_key", "").rpartition(".")[2] != SECRET_KEY_PART:
                self._json(401, {"error": "Authentication Error: Signature has expired"})
            else:
                self._json(200, {"access_token": portal.new_token()})
        elif path == "/index/bulk/documents":
            if not self._meets("index", "", body):
                self._json(200, [portal.objects[each].record(each) for each in body if each in portal.objects])
        elif path == "/guppy/download":
            if self._meets("query", "", body) or not self._is_signed_in():
                return
            if set(body["fields"] or ()) - set(portal.known_fields):
                self._json(400, {"error": "unknown field"})
            else:
                self._json(200, portal.files)
        else:
            self._json(404, {})

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/user/data/download/"):
            self._address(parts.path.removeprefix("/user/data/download/"))
        elif parts.path.startswith("/bucket/"):
            self._bytes(parts.path.removeprefix("/bucket/"), parse_qs(parts.query))
        elif parts.path.startswith("/api/v0/submission/"):
            _, _, _, _, program, code, *_ = parts.path.split("/")
            self._export(f"{program}-{code}", parse_qs(parts.query)["node_label"][0])
        else:
            self._json(404, {})

    def _address(self, object_id: str) -> None:
        if self._meets("url", object_id) or not self._is_signed_in():
            return
        stored = self.portal.objects.get(object_id)
        if stored is None:
            self._json(404, {"error": "No indexed document found"})
        elif stored.forbidden:  # fence answers 401 here, not 403
            self._json(401, {"error": "You don't have access permission on this file"})
        else:
            self._json(200, {"url": self.portal.signed(object_id)})

    def _export(self, project: str, node: str) -> None:
        if self._meets("export", f"{project}_{node}") or not self._is_signed_in():
            return
        text = self.portal.nodes.get((project, node))
        if text is None:
            self._json(400, {"error": "no such node"})
        else:
            self._send(200, text, {"Content-Type": "application/octet-stream"})

    def _bytes(self, object_id: str, query: dict[str, list[str]]) -> None:
        asked = Asked(kind="bytes", name=object_id, time_s=time.monotonic(), range=self.headers.get("Range"))
        self.portal.asked.append(asked)
        fault = next(self.portal.faults.get(("bytes", object_id), iter(())), None)
        if query.get("X-Amz-Signature") != [SECRET_SIGNATURE] or "Authorization" in self.headers:
            self._send(400, b"<Error/>")
            return
        if isinstance(fault, int | tuple):
            self._fault(fault)
            return
        content = self.portal.objects[object_id].content
        if fault == "wrong":
            content = bytes(len(content))
        start = (
            int(asked.range.removeprefix("bytes=").rstrip("-")) if asked.range and "no range" not in str(fault) else 0
        )
        if start and start >= len(content):
            self._send(416, b"")
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        share = 50 if fault == "drop" else int(str(fault).split()[-2]) if str(fault).endswith("%") else 100
        end = start + (len(content) - start) * share // 100
        step = 1 << 14
        for place in range(start, end, step):
            asked.sent += min(place + step, end) - place  # before: the client may be done as soon as it is written
            self.wfile.write(content[place : min(place + step, end)])
            time.sleep(self.portal.chunk_pause_s)
        if share < 100:
            self.close_connection = True

    def _is_signed_in(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token in self.portal.tokens:
            return True
        self._json(401, {"error": "Authentication Error: Signature has expired"})
        return False

    def _meets(self, kind: str, name: str, body: Any = None) -> bool:
        self.portal.asked.append(Asked(kind=kind, name=name, time_s=time.monotonic(), body=body))
        fault = next(self.portal.faults.get((kind, name), iter(())), None)
        if fault is not None:
            self._fault(fault)
        return fault is not None

    def _fault(self, fault: Any) -> None:
        if isinstance(fault, str):
            self._send(200, fault.encode(), {"Content-Type": "text/html"})
            return
        status, headers = fault if isinstance(fault, tuple) else (fault, {})
        # A portal may well repeat what it was asked, the signature with it.
        self._send(status, f"refused: {self.path}".encode(), headers)

    def _json(self, status: int, content: Any) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: Any) -> None:
        pass  # a client that hangs up in the middle is what some of these tests are about


def serve(portal: Portal) -> _Server:
    """Start the portal on a free port of loopback; `shutdown` and `server_close` end it."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"portal": portal}))
    portal.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server
