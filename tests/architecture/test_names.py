"""The flat packages are ours alone, and every test folder is a package."""

from importlib import import_module
from importlib.metadata import packages_distributions

import pytest

from tests.architecture.tree import PACKAGES, ROOT, project_files


@pytest.mark.parametrize("name", PACKAGES)
def test_name_is_ours_alone(name: str) -> None:
    assert set(packages_distributions().get(name, [])) <= {"cellwatt"}
    assert import_module(name).__path__[0] == str(ROOT / name)


def test_every_folder_with_tests_is_a_package() -> None:
    folders = {path.parent for path in project_files() if path.parts[0] == "tests" and path.suffix == ".py"}
    ours = {each for folder in folders for each in (folder, *folder.parents) if each.parts}
    assert len(ours) >= 5
    assert sorted(str(each) for each in ours if not (ROOT / each / "__init__.py").is_file()) == []


def test_streamlit_finds_no_file_of_ours_under_a_packages_name() -> None:
    # A script's own folder comes first on the path: a console file called `edge.py` would hide the package.
    console = [path for path in project_files() if path.parts[:2] == ("ui", "console")]
    assert [str(path) for path in console if path.stem in PACKAGES] == []


def test_the_project_cannot_be_uploaded() -> None:
    assert '"Private :: Do Not Upload"' in (ROOT / "pyproject.toml").read_text()
