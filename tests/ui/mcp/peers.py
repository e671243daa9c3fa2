"""Clients of the Model Context Protocol written from its specification: no line of the SDK that the server is built with.

Source:
    modelcontextprotocol.io, specification 2025-06-18: "Lifecycle" (initialize, then notifications/initialized, then requests)
    and "Transports" (stdio: one JSON-RPC message a line; streamable HTTP: POST, answered by JSON or by an event stream).
"""

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

Message = dict[str, Any]
_WITHIN_S = 60.0


class PeerError(Exception):
    """A JSON-RPC error; the message begins with its code."""


class Peer(ABC):
    """One client: it numbers its requests and takes nothing for an answer that has another number."""

    def __init__(self) -> None:
        self._number = 0
        self.version = ""  # that both speak, after the handshake

    @abstractmethod
    async def exchange(self, message: Message) -> Message | None:
        """Send a message; return the answer, None to a notification."""

    async def shake_hands(self, version: str) -> Message:
        """Do what comes before everything else; return what the server says of itself."""
        about = {"name": "a-client-of-its-own", "version": "0.1"}
        greeted = await self.ask(
            "initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": about}
        )
        self.version = str(greeted["protocolVersion"])
        assert await self.exchange({"jsonrpc": "2.0", "method": "notifications/initialized"}) is None
        return greeted

    async def ask(self, method: str, params: Mapping[str, Any]) -> Message:
        """Return the result of a request.

        Raises:
            PeerError: The server answers with an error.
        """
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": dict(params)}
        answer = await self.exchange(request)
        assert answer is not None
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", self._number)
        if "error" in answer:
            raise PeerError(f"{answer['error']['code']} {answer['error']['message']}")
        result: Message = answer["result"]
        return result


class HttpPeer(Peer):
    """Streamable HTTP: it keeps the session's id where it is given one, and names the version after the handshake."""

    def __init__(self, *, http: httpx.AsyncClient, url: str, token: str) -> None:
        super().__init__()
        self._http, self._url = http, url
        self._headers = {
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {token}",
        }

    async def exchange(self, message: Message) -> Message | None:
        """See `Peer`."""
        version = {"MCP-Protocol-Version": self.version} if self.version else {}
        answer = await self._http.post(self._url, json=message, headers={**self._headers, **version})
        answer.raise_for_status()
        if session := answer.headers.get("Mcp-Session-Id"):
            self._headers["Mcp-Session-Id"] = session
        if "id" not in message:
            assert answer.status_code == httpx.codes.ACCEPTED
            assert answer.content in {b"", b"null"}
            return None
        if answer.headers["Content-Type"].startswith("text/event-stream"):
            data = [line[5:] for line in answer.text.splitlines() if line.startswith("data:")]
            return _answer_of(data, message["id"])
        found: Message = answer.json()
        return found


class StdioPeer(Peer):
    """One message a line on the server's standard input and output; whatever else stands there breaks the protocol."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process

    async def exchange(self, message: Message) -> Message | None:
        """See `Peer`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(message).encode() + b"\n")
        await stdin.drain()
        if "id" not in message:
            return None
        async with asyncio.timeout(_WITHIN_S):
            while line := await stdout.readline():
                found: Message = json.loads(line)
                if found.get("id") == message["id"]:
                    return found
                assert "method" in found, "neither the answer nor a notification"
        raise PeerError("the server closed its output")


@asynccontextmanager
async def over_stdio(env: Mapping[str, str]) -> AsyncIterator[StdioPeer]:
    """Start `cellwatt mcp` as a client's configuration does; closing its input ends it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ui.cli", "mcp",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=dict(env), limit=1 << 22,
    )  # fmt: skip
    try:
        yield StdioPeer(process)
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(_WITHIN_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _answer_of(data: list[str], number: int) -> Message:
    found: list[Message] = [one for one in map(json.loads, data) if one.get("id") == number]
    assert len(found) == 1
    return found[0]
