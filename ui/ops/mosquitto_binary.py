"""Finding a mosquitto: installed, or unpacked from Debian's packages without root and without installing them."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ui.ops.privilege import reachable_root
from ui.ops.process import RunAs

_PACKAGES = ("mosquitto", "libmosquitto1", "libcjson1", "libdlt2", "libwrap0")
_SYSTEM_FOLDERS = (
    "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"  # an ordinary user's PATH often lacks sbin
)
_INSTALL = "install it (Debian, Ubuntu: apt-get install mosquitto), or set MQTT_URL to a broker that you run"


class BrokerAbsentError(Exception):
    """No mosquitto can be had; the message names the command that installs one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MosquittoBinary:
    """A broker that can be executed."""

    path: Path
    library_path: str  # for LD_LIBRARY_PATH; empty if it is installed


def find_mosquitto(
    folder: Path, *, search_path: str, run_as: RunAs | None, progress: Callable[[str], None] = lambda _: None
) -> MosquittoBinary:
    """Return an installed mosquitto, one unpacked earlier, or unpack one now.

    Args:
        folder: Where packages are unpacked; private.
        search_path: The environment's PATH; the system's sbin folders are searched too.
        run_as: The user who will execute it.
        progress: Called when packages are fetched.

    Raises:
        BrokerAbsentError: None is installed and none can be unpacked.
    """
    if installed := shutil.which("mosquitto", path=f"{search_path}:{_SYSTEM_FOLDERS}"):
        return MosquittoBinary(path=Path(installed), library_path="")
    return unpacked_mosquitto(folder, run_as=run_as, progress=progress)


def unpacked_mosquitto(
    folder: Path, *, run_as: RunAs | None, progress: Callable[[str], None] = lambda _: None
) -> MosquittoBinary:
    """Return a mosquitto unpacked into the folder, fetching Debian's packages if it is not there yet.

    Raises:
        BrokerAbsentError: Not a Debian with reachable package sources, or what was unpacked does not run.
    """
    tree = folder / "mosquitto"
    if not (tree / "usr/sbin/mosquitto").exists():
        progress("mosquitto is not installed: unpacking Debian's packages")
        _unpack(folder, tree)
    reachable = reachable_root(tree, ("usr",), "usr/sbin/mosquitto", run_as)
    libraries = sorted({str(found.parent) for found in reachable.glob("usr/lib/*/libmosquitto.so.1")})
    binary = MosquittoBinary(path=reachable / "usr/sbin/mosquitto", library_path=":".join(libraries))
    said = _run([str(binary.path), "-h"], cwd=Path("/"), env={"LD_LIBRARY_PATH": binary.library_path})
    if "mosquitto version" not in said.stdout:
        raise BrokerAbsentError(f"the unpacked mosquitto does not run ({said.stderr.strip()}); {_INSTALL}")
    return binary


def _unpack(folder: Path, tree: Path) -> None:
    if platform.system() != "Linux" or not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise BrokerAbsentError(f"mosquitto is not on this machine; {_INSTALL}")
    downloads = folder / "packages"
    staged = folder / "mosquitto.new"
    for each in (downloads, staged):
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir()
    fetched = _run(["apt-get", "download", *_PACKAGES], cwd=downloads, env=dict(os.environ))
    if fetched.returncode != 0:
        raise BrokerAbsentError(f"apt-get download failed ({fetched.stderr.strip()}); {_INSTALL}")
    for package in sorted(downloads.glob("*.deb")):
        extracted = _run(["dpkg", "-x", str(package), str(staged)], cwd=folder, env=dict(os.environ))
        if extracted.returncode != 0:
            raise BrokerAbsentError(f"dpkg -x {package.name} failed ({extracted.stderr.strip()}); {_INSTALL}")
    staged.rename(tree)
    shutil.rmtree(downloads)


def _run(argv: list[str], *, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 programs named here
        argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False
    )
