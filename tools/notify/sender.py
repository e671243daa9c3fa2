"""Sends one message to one target through Apprise, in a thread and within a time."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from telemetry.model.incident import Severity
from tools.notify.settings import NotifySettings, Target

CONNECT_S, ANSWER_S = 5.0, 10.0
"""How long one attempt may take to connect and to be answered, wall time [I]."""
DELIVERY_HEADER = "X-CellWatt-Message"
"""Carries the message's id to receivers that have headers (mail, webhook), who can then know a repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How an attempt ended; `detail` never holds an address or a secret."""

    ok: bool
    detail: str


def deliver(
    target: Target, *, title: str, body: str, link: str, severity: Severity, message_id: str
) -> Delivery:
    """Send one message now, blocking; whatever a service does, this returns."""
    import apprise  # noqa: PLC0415 - loads some hundred services, and only who sends needs it

    kind = {
        Severity.INFO: apprise.NotifyType.INFO,
        Severity.WARNING: apprise.NotifyType.WARNING,
        Severity.CRITICAL: apprise.NotifyType.FAILURE,
    }[severity]
    service = open_service(target)
    if service is None:
        return Delivery(ok=False, detail=f"{target.scheme}: Apprise cannot use this address")
    headers = getattr(service, "headers", None)
    if isinstance(headers, dict):
        headers[DELIVERY_HEADER] = message_id
    if link and target.scheme in ("ntfy", "ntfys"):
        service.click = link
    text = f"{body}\n\n{link}" if link else body
    # Apprise says why in its log alone, and puts addresses there: the log is kept from ours, the reason is given in our words.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    try:
        sent = bool(service.notify(body=text, title=title, notify_type=kind))
    except Exception as error:  # noqa: BLE001 (one of some hundred services; none may end the process)
        return Delivery(ok=False, detail=f"{target.scheme}: {type(error).__name__}")
    return Delivery(ok=sent, detail=f"{target.scheme}: {'taken' if sent else 'not taken'}")


def open_service(target: Target) -> Any | None:
    """Return Apprise's object for a target, None where the address is no good."""
    import apprise  # noqa: PLC0415 - see above

    service = apprise.Apprise.instantiate(target.url.get_secret_value())
    if service is not None:
        service.socket_connect_timeout, service.socket_read_timeout = CONNECT_S, ANSWER_S
    return service


class Courier:
    """Threads of its own for sending, so that a slow service never takes a thread from requests."""

    def __init__(self, at_once: int = 4) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="notify")

    async def send(
        self, target: Target, *, title: str, body: str, link: str, severity: Severity, message_id: str
    ) -> Delivery:
        """Send; what takes longer than connecting and answering may is given up."""
        work = asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: deliver(
                target, title=title, body=body, link=link, severity=severity, message_id=message_id
            ),
        )
        try:
            async with asyncio.timeout(2.0 * (CONNECT_S + ANSWER_S)):
                return await work
        except TimeoutError:
            return Delivery(ok=False, detail=f"{target.scheme}: no answer in time")

    def close(self) -> None:
        """Take no more; what is being sent ends by its own time-out."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What the test button shows for one target."""

    target: str
    scheme: str
    delivery: Delivery


async def send_test(
    settings: NotifySettings, courier: Courier, *, name: str | None = None
) -> tuple[Tested, ...]:
    """Send a test message to one target or to all, whatever hour it is.

    Raises:
        KeyError: There is no target of that name.
    """
    chosen = [one for one in settings.target if name is None or one.name == name]
    if name is not None and not chosen:
        raise KeyError(name)
    link = f"{settings.public_url.rstrip('/')}/m" if settings.public_url else ""
    results = await asyncio.gather(
        *(
            courier.send(
                one,
                title="CellWatt test message",
                body=f"This is a test for {one.name}. Nothing has happened.",
                link=link,
                severity=Severity.INFO,
                message_id="test",
            )
            for one in chosen
        )
    )
    return tuple(
        Tested(target=one.name, scheme=one.scheme, delivery=each)
        for one, each in zip(chosen, results, strict=True)
    )
