"""Settings of the REST API."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """How the API behaves; every duration here is wall time.

    Attributes:
        session_for: A login lasts this long.
        sign_in_within: A sign-in through a provider has to be finished within this.
        code_for: A one-time code is good for this long.
        lock_after: Failed logins in a row that lock an account.
        lock_for: How long it stays locked.
        logins_at_once: Password checks at the same time (each takes 64 MiB for a moment).
        remember_for: A credential looked up is believed this long, so that a withdrawal by another process reaches us.
        rate_per_s: Requests a second that one caller may make in the long run.
        burst: Requests that one caller may make at once.
        login_rate_per_s: The same for logins, by address.
        login_burst: The same at once.
        max_body_bytes: The largest body, telemetry apart.
        max_upload_bytes: The largest telemetry upload, unpacked.
        max_document_bytes: The largest file for the library.
        max_upload_rows: The most rows of it.
        fleet_every: Between two looks at the fleet while somebody watches.
        fleet_idle: The fleet is looked at on until nobody has asked for this long.
        heartbeat: An open stream says at least this often that it lives.
        answer_within: How long an order waits for the control process's answer before it says `pending`.
        database_within: A request waits this long for a database connection before it is told to try again.
        in_progress: After this a request that never ended no longer blocks its idempotency key.
        keep_answers: Idempotency keys are remembered this long (domain time).
    """

    session_for: timedelta = timedelta(hours=12)
    sign_in_within: timedelta = timedelta(minutes=10)
    code_for: timedelta = timedelta(minutes=1)
    lock_after: int = 5
    lock_for: timedelta = timedelta(minutes=15)
    logins_at_once: int = 2
    remember_for: timedelta = timedelta(seconds=5)
    rate_per_s: float = 50.0
    burst: int = 200
    login_rate_per_s: float = 1.0
    login_burst: int = 20
    max_body_bytes: int = 1_048_576
    max_upload_bytes: int = 67_108_864
    max_document_bytes: int = 20_000_000
    max_upload_rows: int = 100_000
    fleet_every: timedelta = timedelta(seconds=1)
    fleet_idle: timedelta = timedelta(seconds=30)
    heartbeat: timedelta = timedelta(seconds=15)
    answer_within: timedelta = timedelta(seconds=3)
    database_within: timedelta = timedelta(seconds=5)
    in_progress: timedelta = timedelta(seconds=60)
    keep_answers: timedelta = timedelta(hours=48)
