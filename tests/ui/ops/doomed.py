"""Parents for the kill -9 tests: each starts children, says their process ids on a line, and waits to be killed."""

import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from tests.services import PASSWORDS, QUICK
from ui.ops.broker import EmbeddedBroker
from ui.ops.files import private_folder
from ui.ops.pki import CertificateAuthority
from ui.ops.postgres import EmbeddedPostgres
from ui.ops.process import ProcessSpec, spawn
from ui.ops.supervisor import Supervisor


def child(*arguments: str) -> ProcessSpec:
    return ProcessSpec(name="child", argv=(sys.executable, "-m", "tests.ui.ops.doomed", *arguments))


def main(what: str, folder: str) -> None:
    if what == "postgres":
        with EmbeddedPostgres(Path(folder), PASSWORDS, settings=QUICK) as server:
            sys.stdout.write(f"{server.process.pid} {server.port}\n")
            sys.stdout.flush()
            time.sleep(60)
    if what == "broker":
        authority = CertificateAuthority(Path(folder) / "pki", now=datetime.now(UTC))
        with EmbeddedBroker(private_folder(Path(folder) / "broker"), authority) as broker:
            sys.stdout.write(f"{broker.process.pid}\n")
            sys.stdout.flush()
            time.sleep(60)
    if what == "supervisor":
        supervisor = Supervisor(
            status_path=Path(folder) / "status.json",
            wall_now=lambda: datetime.now(UTC),
            monotonic_s=time.monotonic,
            random=Random(1),
        )
        supervisor.add(child("parent", folder))
        supervisor.run(threading.Event())
    if what == "parent":
        grandchild = spawn(ProcessSpec(name="grandchild", argv=("sleep", "60")))
        (Path(folder) / "grandchild").write_text(str(grandchild.pid))
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
