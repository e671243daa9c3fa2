"""A conversation as it happens: its events come over the API's stream while it stands, and are asked for while it does not."""

import json
import threading
import time
from collections.abc import Iterator

import httpx

from ui.console.api_client import ApiClient, Doc

# The API sends a sign of life every 15 s: three of them missing, and the stream is dead.
_SILENCE_S = 45.0
_CONNECT_S = 5.0
_AGAIN_AFTER_S = 5.0
_FORGOTTEN_AFTER_S = 60.0  # a page that is looked at draws every few seconds
_MEDIA_TYPE = "text/event-stream"


class Following:
    """Reads one thread's events in the background until it is left, or nobody asks any more.

    Args:
        api: The reader's way to the API.
        thread_id: Which conversation.
        again_after_s: A stream that broke is opened anew after this, s.
        forgotten_after_s: Nobody has asked for this long: nobody looks any more, s.
    """

    def __init__(
        self,
        api: ApiClient,
        thread_id: str,
        *,
        again_after_s: float = _AGAIN_AFTER_S,
        forgotten_after_s: float = _FORGOTTEN_AFTER_S,
    ) -> None:
        self.thread_id = thread_id
        self._again_after_s = again_after_s
        self._forgotten_after_s = forgotten_after_s
        self.api = api
        self._lock = threading.Lock()
        self._events: list[Doc] = []
        self._standing = False
        self._reader: threading.Thread | None = None
        self._begun_s = float("-inf")
        self._asked_s = time.monotonic()
        self._left = False

    @property
    def standing(self) -> bool:
        """Whether the stream stands, so that nobody has to ask."""
        with self._lock:
            return self._standing

    def events(self) -> list[Doc]:
        """Return all events so far, oldest first.

        Raises:
            ApiError: The stream does not stand and the API does not answer either.
        """
        self._asked_s = time.monotonic()
        with self._lock:
            standing, last = self._standing, self._last()
        while not standing:
            fresh = self.api.get(f"/v1/threads/{self.thread_id}/events", after=last)["events"]
            with self._lock:
                self._add(fresh)
                last = self._last()
            if not fresh:
                self._begin()
                break
        with self._lock:
            return list(self._events)

    def leave(self) -> None:
        """Read no further; the connection ends with the next sign of life."""
        self._left = True

    def _begin(self) -> None:
        """Open the stream, unless that was tried a moment ago."""
        now_s = time.monotonic()
        busy = self._reader is not None and self._reader.is_alive()
        if busy or self._left or now_s - self._begun_s < self._again_after_s:
            return
        self._begun_s = now_s
        self._reader = threading.Thread(target=self._read, name="thread-events", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        timeout = httpx.Timeout(_CONNECT_S, read=_SILENCE_S)
        headers = {"Accept": _MEDIA_TYPE, "Authorization": f"Bearer {self.api.token}"}
        path = f"/v1/threads/{self.thread_id}/events"
        try:
            # A pool of its own: streams stay open, and must not take the places of requests.
            with (
                httpx.Client(base_url=self.api.http.base_url, timeout=timeout, trust_env=False) as http,
                http.stream("GET", path, params={"after": self._last()}, headers=headers) as answer,
            ):
                if not answer.is_success or _MEDIA_TYPE not in answer.headers.get("content-type", ""):
                    return  # whoever asks next is told why
                self._take_all(answer.iter_lines())
        except (httpx.HTTPError, ValueError, KeyError):
            pass  # the stream is over, whatever ended it: events are asked for until it stands again
        finally:
            with self._lock:
                self._standing = False

    def _take_all(self, lines: Iterator[str]) -> None:
        with self._lock:
            self._standing = True
        for line in lines:
            if self._left or time.monotonic() - self._asked_s > self._forgotten_after_s:
                return
            if line.startswith("data:"):
                event: Doc = json.loads(line.removeprefix("data:"))
                with self._lock:
                    self._add([event])

    def _add(self, events: list[Doc]) -> None:
        last = self._last()
        self._events.extend(one for one in events if one["event_no"] > last)

    def _last(self) -> int:
        return int(self._events[-1]["event_no"]) if self._events else 0
