"""Real receivers on this machine: a web server that keeps what is posted, and a mail server that keeps what it is given."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class WebReceiver:
    """What was posted: bodies and headers. `answer` gives the status of each request, by its number from 0."""

    answer: Callable[[int], int] = lambda _: 200
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "hook") -> str:
        return f"json://127.0.0.1:{self.port}/{path}"


@contextmanager
def web_receiver(answer: Callable[[int], int] = lambda _: 200) -> Iterator[WebReceiver]:
    """Serve on a free port until the block ends."""
    kept = WebReceiver(answer=answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"]))
            number = len(kept.bodies)
            kept.headers.append(dict(self.headers))
            kept.bodies.append(json.loads(text))
            self.send_response(kept.answer(number))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class MailReceiver:
    """Mails that were delivered, with whom their envelopes named."""

    mails: list[tuple[list[str], Message]] = field(default_factory=list)
    port: int = 0


@asynccontextmanager
async def mail_receiver() -> AsyncIterator[MailReceiver]:
    """Speak the few words of SMTP (RFC 5321) that a delivery needs, on a free port."""
    kept = MailReceiver()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rcpt: list[str] = []
        writer.write(b"220 receiver ESMTP\r\n")
        while line := (await reader.readline()).decode().strip():
            word = line.split(" ")[0].upper()
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                lines = []
                while (part := await reader.readline()) != b".\r\n":
                    lines.append(part)
                kept.mails.append((list(rcpt), message_from_bytes(b"".join(lines))))
            elif word == "RCPT":
                rcpt.append(line.partition("<")[2].rstrip(">"))
            elif word == "QUIT":
                writer.write(b"221 bye\r\n")
                break
            writer.write(b"250 ok\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    kept.port = server.sockets[0].getsockname()[1]
    async with server:
        yield kept
