"""`cellwatt control stop | clear | abort PLAN | rotate-key`: from the machine itself, without agent or API."""

import asyncio
import base64
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.control.key_folder import KeyFolder
from edge.control.request_store import RequestStore
from edge.control.signer import Signer
from edge.plan import PlanId
from telemetry.model.errors import ControlError
from ui.ops.files import write_atomic
from ui.ops.secret_files import SEED_BYTES

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What control did: `done` or `refused` with its reasons; `unanswered` where no control process runs."""

    outcome: str
    doc: dict[str, Any]


async def ask_control(
    store: RequestStore,
    kind: str,
    *,
    who: str,
    reason: str,
    at: datetime,
    within: timedelta,
    plan_id: PlanId | None = None,
) -> Answer:
    """Write a request for the running control process and wait for its answer.

    An unanswered request stays: control carries it out as soon as it runs.

    Args:
        store: Opened with control's own role.
        kind: `stop`, `clear` or `abort` (which names a plan).
        who: The person, for the audit trail.
        reason: Why, for the audit trail.
        at: Domain time.
        within: How long to wait, wall time.
        plan_id: The plan to abort.

    Raises:
        ControlError: There is no such plan.
    """
    try:
        request_id = await store.request_control(kind, who=who, reason=reason, at=at, plan_id=plan_id)
    except psycopg.errors.ForeignKeyViolation as error:
        raise ControlError(f"there is no plan {plan_id}") from error
    deadline = time.monotonic() + within.total_seconds()
    while (found := await store.control_outcome(request_id)) is None:
        if time.monotonic() >= deadline:
            return Answer(outcome="unanswered", doc={"request_id": request_id})
        await asyncio.sleep(_LOOK_EVERY_S)
    return Answer(outcome=found[0], doc=found[1])


def rotate_key(folder: KeyFolder, seed_file: Path, root: Ed25519PrivateKey, now: datetime) -> str:
    """Make a new signing key, have the root vouch for it beside the old one, and return its name.

    The key set comes first: if this is cut off in between, control goes on with the old key, which still holds for
    the overlap. Control takes the new key up at its next start.
    """
    seed = secrets.token_bytes(SEED_BYTES)
    signer = Signer(Ed25519PrivateKey.from_private_bytes(seed))
    folder.rotate(signer.public, root, now)
    write_atomic(seed_file, base64.b64encode(seed))
    return signer.key_id
