"""A process without rights, on the real kernel: what it still can, and what it cannot any more."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ui.ops.confine import landlock_version
from ui.ops.llm import QWEN
from ui.ops.llm_run import SERVER_ENV, ModelKeeper, ModelState, server_spec, url_of, wanted
from ui.ops.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from confine import Rights, confine
from pathlib import Path
folder, secret, port, listener, uid, gid = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6], sys.argv[7]
os.chdir(folder)
got = confine(Rights(user=None if uid == "-" else (int(uid), int(gid)), readable=[Path(), Path(sys.prefix), Path(sys.base_prefix), Path("/usr"), Path("/lib")],
    listen_port=port, parent_pid=os.getppid()))
def tries(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"
def listens(number):
    server = socket.socket(); server.bind(("127.0.0.1", number)); server.listen(); server.close()
print(json.dumps({
    "files": got.files, "network": got.network, "uid": os.getuid(), "groups": os.getgroups(),
    "weights": tries(lambda: open("weights").read()),
    "secret": tries(lambda: open(secret).read()),
    "environ": tries(lambda: open(f"/proc/{os.getppid()}/environ").read()),
    "passwd": tries(lambda: open("/etc/passwd").read()),
    "write": tries(lambda: open("new", "w")),
    "change": tries(lambda: open("weights", "w")),
    "run": tries(lambda: os.execv("/usr/bin/env", ["env"])),
    "connect": tries(lambda: socket.socket().connect(("127.0.0.1", listener))),
    "listen": tries(lambda: listens(port)),
    "listen elsewhere": tries(lambda: listens(0)),
    "become root": tries(lambda: os.setuid(0)) if uid != "-" else "PermissionError",
}))
"""


@pytest.mark.skipif(landlock_version() < 4, reason="the kernel has no Landlock 4")
@pytest.mark.parametrize("user", ["-", "65534"])
def test_what_is_left_is_reading_and_one_port(tmp_path: Path, user: str) -> None:
    if user != "-" and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder, secret = tmp_path / "models", tmp_path / "state" / "secret"
    folder.mkdir(mode=0o755)
    (folder / "weights").write_text("w")
    (folder / "weights").chmod(0o644)
    secret.parent.mkdir(mode=0o700)
    secret.write_text("s")
    secret.chmod(0o644)  # so that it is the folder and the kernel that keep it, not its own mode alone
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        done = subprocess.run(
            [
                sys.executable, "-c", CHILD, str(ROOT / "ui" / "ops"), str(folder), str(secret), str(free_port(None)),
                str(listener.getsockname()[1]), user, user,
            ],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    found = json.loads(done.stdout)
    assert found == {
        "files": True, "network": True, "uid": os.getuid() if user == "-" else 65534,
        "groups": found["groups"] if user == "-" else [], "weights": "done", "secret": "PermissionError",
        "environ": "PermissionError", "passwd": "PermissionError", "write": "PermissionError", "change": "PermissionError",
        "run": "PermissionError", "connect": "PermissionError", "listen": "done", "listen elsewhere": "PermissionError",
        "become root": "PermissionError",
    }  # fmt: skip


def test_the_server_gets_no_secret_and_no_address_of_ours(tmp_path: Path) -> None:
    spec = server_spec(tmp_path, 4711, None)
    assert (
        spec.env
        == SERVER_ENV
        == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "PYTHONUNBUFFERED": "1"}
    )
    assert spec.argv[1] == "-I"
    assert spec.argv[3:6] == (str(tmp_path), "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "4711")
    assert (spec.argv[6] == "-") is (os.geteuid() != 0)
    assert spec.run_as is None  # it drops its rights itself, once its libraries are loaded


@pytest.mark.parametrize(
    ("env", "is_wanted"),
    [
        ({}, True),
        ({"LLM": "none"}, False),
        ({"LLM": "NONE"}, False),
        ({"OPENAI_BASE_URL": "http://x/v1"}, False),
        ({"LLM": "embedded"}, True),
    ],
)
def test_where_it_has_a_place(env: dict[str, str], is_wanted: bool) -> None:
    assert wanted(env) is is_wanted


def test_an_endpoint_of_ones_own_means_that_nothing_is_fetched(tmp_path: Path) -> None:
    said: list[str] = []
    keeper = ModelKeeper(
        env={"OPENAI_BASE_URL": "http://x/v1", "CELLWATT_MODELS": str(tmp_path)}, port=1, logs=tmp_path,
        supervisor=None, say=said.append,  # type: ignore[arg-type]
    )  # fmt: skip
    keeper.begin()
    keeper.tick()
    assert (keeper.state, said, list(tmp_path.iterdir())) == (ModelState.OFF, [], [])
    assert url_of(4711) == "http://127.0.0.1:4711/v1"


def test_the_server_gives_its_rights_up_before_it_reads_its_weights(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / QWEN.file).write_bytes(b"no weights at all")
    (tmp_path / QWEN.file).chmod(0o644)
    spec = server_spec(tmp_path, free_port(None), None)
    done = subprocess.run(
        spec.argv, env=dict(spec.env or {}), cwd="/", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert done.stdout.startswith("rights: user "), done.stderr
    if landlock_version() >= 4:
        assert "files limited by the kernel, no outgoing TCP" in done.stdout
    if os.geteuid() == 0:
        assert not done.stdout.startswith("rights: user 0,")
