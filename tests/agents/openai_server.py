"""A real HTTP server that speaks the OpenAI protocol from a script: what a language model says, well and badly.

Each request takes the next entry of the script (the last one repeats), or what a function of the request returns: a
`Call` is streamed as a function call, the other entries fail in the ways that endpoints fail. Requests are kept for the
tests to look at.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One function call; `arguments` is sent as it is when it is text (malformed JSON)."""

    name: str
    arguments: dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class Slow:
    """Answers after so many seconds."""

    seconds: float
    then: Call


@dataclass(frozen=True, slots=True)
class CutOff:
    """Streams half of the call and closes the connection."""

    call: Call


@dataclass(frozen=True, slots=True)
class Says:
    """Plain text instead of a call."""

    text: str


@dataclass(frozen=True, slots=True)
class Refuses:
    """A refusal."""

    text: str = "I cannot help with that."


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP error such as 429, 401 or 500."""

    code: int


Entry = Call | Slow | CutOff | Says | Refuses | Status


@dataclass(slots=True)
class OpenAiServer:
    """The server's address, its script and what it was asked."""

    script: Sequence[Entry] | Callable[[dict[str, Any]], Entry]
    base_url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection; each answer closes it."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            self.requests.append(json.loads(await reader.readexactly(length)))
            await self._answer(writer, self._next(self.requests[-1]))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _next(self, request: dict[str, Any]) -> Entry:
        if callable(self.script):
            return self.script(request)
        return self.script[min(len(self.requests), len(self.script)) - 1]

    async def _answer(self, writer: asyncio.StreamWriter, entry: Entry) -> None:
        match entry:
            case Slow(seconds=seconds, then=then):
                await asyncio.sleep(seconds)
                await self._answer(writer, then)
            case Status(code=code):
                body = json.dumps({"error": {"message": "no", "type": "t", "code": str(code)}}).encode()
                writer.write(
                    f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
            case CutOff(call=call):
                await _stream(writer, _call_deltas(call)[:2])
            case Call():
                await _stream(writer, _call_deltas(entry), finish="tool_calls")
            case Says(text=text):
                await _stream(writer, [{"content": text}], finish="stop")
            case Refuses(text=text):
                await _stream(writer, [{"refusal": text}], finish="stop")


def _call_deltas(call: Call) -> list[dict[str, Any]]:
    text = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    half = len(text) // 2
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": call.name, "arguments": ""}}
    parts = [{"index": 0, "function": {"arguments": part}} for part in (text[:half], text[half:])]
    return [{"tool_calls": [part]} for part in (first, *parts)]


async def _stream(
    writer: asyncio.StreamWriter, deltas: list[dict[str, Any]], finish: str | None = None
) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    chunks = [_chunk({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas]
    if finish is not None:
        chunks.append(_chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        chunks.append(_chunk({"choices": [], "usage": usage}))
        chunks.append(b"data: [DONE]\n\n")
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()


def _chunk(body: dict[str, Any]) -> bytes:
    frame = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "scripted", **body}
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


@asynccontextmanager
async def openai_server(
    *script: Entry, decide: Callable[[dict[str, Any]], Entry] | None = None
) -> AsyncIterator[OpenAiServer]:
    """Run the server on a free port of this machine."""
    state = OpenAiServer(script if decide is None else decide)
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0)
    state.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield state
    finally:
        server.close()
        await server.wait_closed()
