"""What the machine must have: Python, packages, programs, room. Standard library only, so that it runs when little does."""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires, version
from pathlib import Path

from ui.ops.finding import Finding, fine, problem, warning

_GIB = 2**30
_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Imports each module on its own and says which fail: a wheel can be installed and still miss a system library.
_TRY_IMPORTS = """
import importlib, json, sys
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""


def check_python(found: tuple[int, int, int]) -> Finding:
    """Python 3.11 or newer, as `pyproject.toml` asks."""
    text = ".".join(map(str, found))
    if found < (3, 11, 0):
        return problem("python", f"Python {text} runs this", "use Python 3.11 or newer, then: make test")
    return fine("python", f"Python {text}")


def required_packages(extra: str = "cloud") -> tuple[str, ...]:
    """Return the names of what an extra of the project needs; empty where the project itself is not installed."""
    try:
        lines = requires("cellwatt") or []
    except PackageNotFoundError:
        return ()
    wanted = [line for line in lines if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in wanted]
    return tuple(sorted({name for name in names if name.lower() != "cellwatt"}))


def pinned_versions(path: Path) -> dict[str, str]:
    """Return what a constraints file pins, by normalised name; empty where there is none."""
    if not path.is_file():
        return {}
    pairs = (line.partition("==") for line in path.read_text().splitlines() if "==" in line)
    return {_normal(name): pin.split()[0] for name, _, pin in pairs}


def check_packages(names: Sequence[str], pins: Mapping[str, str]) -> list[Finding]:
    """Every package is there, in the version that was tested, and its modules can be imported."""
    again = "make clean && make test, or: pip install -c constraints.txt -e '.[cloud]'"
    if not names:
        return [problem("packages", "cellwatt itself is not installed in this Python", again)]
    there, findings = {}, []
    for name in names:
        try:
            there[name] = version(name)
        except PackageNotFoundError:
            findings.append(problem("packages", f"{name} is not installed", again))
    findings += [
        warning("packages", f"{name} {found} is installed, tested was {pin}", again)
        for name, found in there.items()
        if (pin := pins.get(_normal(name), found)) != found
    ]
    findings += [
        problem("packages", f"{module} cannot be imported ({why})", again)
        for module, why in _failed_imports(modules_of(tuple(there))).items()
    ]
    return findings or [
        fine("packages", f"{len(there)} packages, as tested" if pins else f"{len(there)} packages")
    ]


def modules_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the modules that installed distributions bring, private ones left out."""
    found = {module for name in names for module in _top_level(distribution(name))}
    return tuple(sorted(each for each in found if each.isidentifier() and not each.startswith("_")))


def _top_level(there: Distribution) -> set[str]:
    """Return the names that a distribution can be imported by, as it says itself or as its files tell."""
    if declared := there.read_text("top_level.txt"):
        return set(declared.split())
    code = [path for path in there.files or () if path.suffix == ".py"]
    return {path.parts[0] if len(path.parts) > 1 else path.stem for path in code}


def _failed_imports(modules: Sequence[str]) -> dict[str, str]:
    # In a process of its own: an import may end the process that tries it.
    tried = subprocess.run(  # noqa: S603 our own interpreter
        [sys.executable, "-c", _TRY_IMPORTS, json.dumps(list(modules))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if tried.returncode != 0 or not tried.stdout.strip():
        last = (tried.stderr.strip().splitlines() or ["no message"])[-1]
        return {"one of the modules": f"ended Python with status {tried.returncode}: {last}"}
    failed: dict[str, str] = json.loads(tried.stdout.strip().splitlines()[-1])
    return failed


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check_mosquitto(env: Mapping[str, str], state_dir: Path) -> Finding:
    """A broker is installed, was unpacked, can be unpacked, or is somebody else's."""
    install = "apt-get install mosquitto, or set MQTT_URL to a broker that you run"
    if env.get("MQTT_URL"):
        return fine("mosquitto", "MQTT_URL names a broker, none is started here")
    path = f"{env.get('PATH', '')}:{_SYSTEM_FOLDERS}"
    unpacked = state_dir / "broker" / "mosquitto" / "usr" / "sbin" / "mosquitto"
    if found := shutil.which("mosquitto", path=path):
        said = _first_line([found, "-h"])
        if "mosquitto version" not in said:
            return problem("mosquitto", f"{found} does not run: {said or 'no output'}", install)
        return fine("mosquitto", f"{found}, {said}")
    if unpacked.exists():
        return fine("mosquitto", f"unpacked at {unpacked}")
    if shutil.which("apt-get", path=path) and shutil.which("dpkg", path=path):
        return warning("mosquitto", "not installed; the first start unpacks Debian's packages", install)
    return problem("mosquitto", "there is no mosquitto", install)


def check_chromium(env: Mapping[str, str]) -> Finding:
    """A browser, for the browser tests."""
    path = env.get("PATH", "")
    found = next((each for name in _CHROMIUM if (each := shutil.which(name, path=path))), None)
    if found is None:
        return warning(
            "chromium",
            "not found; only the browser tests need it, they are skipped",
            "apt-get install chromium",
        )
    return fine("chromium", found)


def check_disk(
    path: Path, free_bytes: Callable[[Path], int] = lambda p: shutil.disk_usage(p).free
) -> Finding:
    """Room for the database: 1 GiB to start at all, 5 GiB to keep two weeks of readings of a thousand sites."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    free = free_bytes(there)
    room, more = (
        f"{free / _GIB:.1f} GiB free at {there}",
        "free some, or choose another disk with --state-dir",
    )
    if free < _GIB:
        return problem("disk", room, more)
    return warning("disk", room, more) if free < 5 * _GIB else fine("disk", room)


def check_memory(meminfo: str) -> Finding:
    """Memory that programs may still take: all processes and the database together use about 2 GiB.

    Args:
        meminfo: The text of /proc/meminfo.
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo, re.MULTILINE)
    if found is None:
        return warning("memory", "the kernel does not say what is available", "look at it with: free -h")
    available = int(found[1]) * 1024
    room, more = f"{available / _GIB:.1f} GiB available", "close other programs, or start fewer --sites"
    if available < _GIB // 2:
        return problem("memory", room, more)
    return warning("memory", room, more) if available < 2 * _GIB else fine("memory", room)


def user_exists(name: str) -> bool:
    """Whether the system has this user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def check_user(euid: int = os.geteuid(), exists: Callable[[str], bool] = user_exists) -> Finding:
    """Who runs this: as root every process can read every secret, and servers share `nobody` without users of their own."""
    if euid != 0:
        return fine("user", f"user {euid}; in production each process has a user of its own")
    missing = [name for name in ("postgres", "mosquitto") if not exists(name)]
    servers = f"; without the users {' and '.join(missing)} these servers run as nobody" if missing else ""
    return warning(
        "user",
        f"runs as root: every process could read every other's secrets{servers}",
        "run as an ordinary user; in production give each process a user of its own",
    )


def _first_line(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603 found above
    except OSError as error:
        return str(error)
    return ((done.stdout or done.stderr).strip().splitlines() or [""])[0]
