"""`cellwatt notify`: a private file, a list without secrets, a test message that arrives."""

from pathlib import Path

import pytest

from tests.tools.notify.receivers import web_receiver
from ui.cli import main


def test_from_an_empty_folder_to_a_message_that_arrives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--state-dir", str(tmp_path / "state")]
    assert main(["notify", "test", *state]) == 2
    assert "notify init" in capsys.readouterr().err
    assert main(["notify", "init", *state]) == 0
    path = tmp_path / "state" / "notify.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert main(["notify", "init", *state]) == 2  # what is there is left as it is
    assert main(["notify", "show", *state]) == 0
    shown = capsys.readouterr().out
    assert "on-call phone" in shown
    assert "long-secret-topic" not in shown
    with web_receiver() as web:
        path.write_text(f'[[target]]\nname = "hook"\nurl = "{web.url()}"\n')
        assert main(["notify", "test", *state, "--target", "nobody"]) == 2
        assert main(["notify", "test", *state]) == 0
        assert [body["title"] for body in web.bodies] == ["CellWatt test message"]
        path.write_text('[[target]]\nname = "hook"\nurl = "json://127.0.0.1:9/"\n')
        assert main(["notify", "test", *state]) == 1
