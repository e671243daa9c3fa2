"""The embedded model's server: a process that can read its weights and answer on one loopback port, and nothing else.

Run as a program, `python llm_server.py FOLDER FILE PORT UID GID PARENT`, with an environment of its own that holds no secret.
The model's publisher is anonymous (SECURITY.md): the rights are gone before the first byte of the file is read.
"""

import os
import sys
import threading
from pathlib import Path

# Run isolated: of ours nothing but `confine` is imported. The folder leaves the path at once, and stood last on it:
# our `secrets.py` lies there too, and must never be taken for the standard library's.
sys.path.append(str(Path(__file__).parent))
from confine import Rights, confine  # type: ignore[import-not-found,unused-ignore]

sys.path.pop()

ALIAS = "qwen2.5-coder-1.5b-instruct-q4_k_m"
SLOTS = 8  # one per kind of question, so that each keeps its prompt
_CONTEXT = 24_576  # tokens, shared by the slots: 28 KiB each
_READABLE = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/hosts", "/etc/localtime", "/proc/meminfo", "/proc/cpuinfo", "/sys/devices/system",
    "/dev/null", "/dev/urandom",
)  # fmt: skip


def main() -> int:
    """Serve until the parent dies or a signal ends it."""
    folder, file, port, uid, gid, parent = sys.argv[1:7]
    os.chdir(folder)  # entered as who we are: the user we become may not reach it by its path
    os.nice(5)
    import xllamacpp as native  # noqa: PLC0415 (while it can still be found)

    found = confine(
        Rights(
            user=None if uid == "-" else (int(uid), int(gid)),
            readable=[Path(), Path(sys.prefix), Path(sys.base_prefix), *map(Path, _READABLE)],
            listen_port=int(port),
            parent_pid=int(parent),
        )
    )
    print(f"rights: {found.words()}", flush=True)
    server = native.Server(_parameters(native, file, int(port)))
    print(f"listening on {server.listening_address}", flush=True)
    threading.Event().wait()
    return 0


def _parameters(native: object, file: str, port: int) -> object:
    given = native.CommonParams()  # type: ignore[attr-defined]
    given.model.path = file
    given.model_alias = {ALIAS}
    given.hostnames = ["127.0.0.1"]
    given.port = port
    given.n_ctx = _CONTEXT
    given.n_parallel = SLOTS
    given.kv_unified = True
    given.cache_ram_mib = 0
    given.cpuparams.n_threads = min(os.cpu_count() or 2, 8)
    given.cpuparams_batch.n_threads = min(os.cpu_count() or 2, 8)
    given.ui = False
    given.offline = True
    given.endpoint_slots = False
    given.fit_params = False
    given.cors_origins = ""
    given.verbosity = 1
    return given


if __name__ == "__main__":
    sys.exit(main())
