import os
import stat
from pathlib import Path

import pytest

from ui.ops.privilege import UnreachableProgramError, owned_folder, reachable_root, unprivileged_user
from ui.ops.process import ProcessSpec, RunAs, spawn

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes user")
NOBODY = RunAs(uid=65534, gid=65534, name="nobody")


@pytest.fixture
def hidden_program(tmp_path: Path) -> Path:
    """A program below a folder that only its owner may enter, which finds its library by its place."""
    root = tmp_path / "hidden"
    (root / "bin").mkdir(parents=True)
    (root / "libs").mkdir()
    (root / "bin" / "tool").write_text('#!/bin/sh\ncat "$(dirname "$0")/../libs/words"\n')
    (root / "bin" / "tool").chmod(0o700)
    (root / "libs" / "words").write_text("found\n")
    root.chmod(0o700)
    return root


def test_an_ordinary_user_runs_programs_where_they_are(hidden_program: Path) -> None:
    assert reachable_root(hidden_program, ("bin",), "bin/tool", None) == hidden_program


@as_root
def test_a_hidden_program_is_copied_with_its_libraries_to_where_the_user_can_run_it(
    hidden_program: Path,
) -> None:
    copies = Path("/tmp") / f"cellwatt-test-{os.getpid()}"
    root = reachable_root(hidden_program, ("bin", "libs"), "bin/tool", NOBODY, copies=copies)
    try:
        assert root.parent == copies
        log = hidden_program.parent / "log"
        spec = ProcessSpec(
            name="tool", argv=(str(root / "bin/tool"),), run_as=NOBODY, cwd=Path("/"), log_path=log
        )
        assert spawn(spec).wait(timeout=10) == 0
        assert log.read_text() == "found\n"
        assert stat.S_IMODE(hidden_program.stat().st_mode) == 0o700
        assert reachable_root(hidden_program, ("bin", "libs"), "bin/tool", NOBODY, copies=copies) == root
    finally:
        for path in sorted(copies.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        copies.rmdir()


@as_root
def test_no_place_for_a_copy_is_an_error_that_says_what_to_do(hidden_program: Path) -> None:
    with pytest.raises(UnreachableProgramError, match="run as an ordinary user"):
        reachable_root(hidden_program, ("bin",), "bin/tool", NOBODY, copies=Path("/proc/none"))


@as_root
def test_the_owner_of_earlier_data_goes_on_owning_it(tmp_path: Path) -> None:
    data = owned_folder(tmp_path / "data", RunAs(uid=12345, gid=12345, name="earlier"))
    assert unprivileged_user(("root",), owner_of=data) == RunAs(uid=12345, gid=12345, name="12345")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@as_root
def test_the_last_resort_is_nobody() -> None:
    assert unprivileged_user(("no-such-user",)) == NOBODY


@pytest.mark.skipif(os.geteuid() == 0, reason="an ordinary user stays what it is")
def test_an_ordinary_user_stays_what_it_is() -> None:
    assert unprivileged_user(("postgres",)) is None


@as_root
def test_a_child_works_in_a_folder_that_its_user_could_not_reach(tmp_path: Path) -> None:
    data = owned_folder(tmp_path / "data", NOBODY)
    log = tmp_path / "log"
    spec = ProcessSpec(
        name="writer",
        argv=("/bin/sh", "-c", "id -u; id -G; echo kept > /proc/self/cwd/file; cat /proc/self/cwd/file"),
        cwd=data,
        run_as=NOBODY,
        log_path=log,
    )
    tmp_path.chmod(0o700)
    assert spawn(spec).wait(timeout=10) == 0
    assert log.read_text().split() == ["65534", "65534", "kept"]
