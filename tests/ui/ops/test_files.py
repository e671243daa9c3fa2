import stat
from pathlib import Path

import pytest

from ui.ops.files import UnsafeFileError, create_once, private_folder, require_private, write_atomic


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_written_file_is_private_and_leaves_no_staging_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one")
    write_atomic(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert mode_of(tmp_path / "a") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_first_maker_wins_and_the_second_reads_what_it_made(tmp_path: Path) -> None:
    def interrupted_by_another_starter() -> bytes:
        (tmp_path / "a").write_bytes(b"theirs")
        return b"ours"

    assert create_once(tmp_path / "a", interrupted_by_another_starter) == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one", mode=0o640)
    with pytest.raises(UnsafeFileError, match=r"mode 0640.*chmod 600 .*/a"):
        require_private(tmp_path / "a")


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(UnsafeFileError, match="chmod 700"):
        private_folder(tmp_path / "open")


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    assert mode_of(private_folder(tmp_path / "new")) == 0o700
