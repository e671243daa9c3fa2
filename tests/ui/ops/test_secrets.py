import stat
from pathlib import Path

import pytest

from ui.ops.files import UnsafeFileError
from ui.ops.secrets import DatabaseRole, StateDirectory


def test_secrets_are_made_once_private_and_read_again(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path / "state")
    first.secrets.make_all()
    again = StateDirectory(tmp_path / "state")
    assert again.secrets.database_passwords() == first.secrets.database_passwords()
    assert again.secrets.command_signing_seed() == first.secrets.command_signing_seed()
    files = list((tmp_path / "state" / "secrets").iterdir())
    assert len(files) == len(DatabaseRole) + 5  # admin, session, browser, command signing, root signing
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_every_secret_differs(tmp_path: Path) -> None:
    secrets = StateDirectory(tmp_path / "state").secrets
    passwords = {*secrets.database_passwords().values(), secrets.admin_password()}
    seeds = {secrets.session_secret(), secrets.command_signing_seed(), secrets.root_signing_seed()}
    assert len(passwords) == len(DatabaseRole) + 1
    assert len(seeds) == 3
    assert {len(seed) for seed in seeds} == {32}


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secrets = StateDirectory(tmp_path / "state").secrets
    secrets.admin_password()
    (tmp_path / "state" / "secrets" / "admin-password").chmod(0o644)
    with pytest.raises(UnsafeFileError, match="chmod 600"):
        secrets.admin_password()


def test_a_seed_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    secrets = StateDirectory(tmp_path / "state").secrets
    secrets.root_signing_seed()
    (tmp_path / "state" / "secrets" / "root-signing-seed").write_text("c2hvcnQ=")
    with pytest.raises(ValueError, match="holds 5 bytes where 32 belong"):
        secrets.root_signing_seed()


def test_an_emptied_secret_is_refused_rather_than_made_again(tmp_path: Path) -> None:
    secrets = StateDirectory(tmp_path / "state").secrets
    secrets.database_password(DatabaseRole.OWNER)
    (tmp_path / "state" / "secrets" / "database-cellwatt_owner").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        secrets.database_password(DatabaseRole.OWNER)
