"""The words of the phone's pages: all in one place, all in use."""

import ast
from pathlib import Path

import ui.api
from ui.api.phone_texts import TEXTS

FOLDER = Path(ui.api.__path__[0])
PAGES = (FOLDER / "phone_pages.py", FOLDER / "phone_forms.py", FOLDER / "routes" / "phone.py")
# What is put together in the source: `stop_` and an outcome, `tier_` and a tier.
BUILT = ("stop_", "tier_")


def literals(path: Path) -> set[str]:
    """Return the texts of a module, its docstrings and its data apart."""
    tree = ast.parse(path.read_text())
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    }


def test_every_text_is_in_use() -> None:
    used = set().union(*(literals(path) for path in PAGES))
    assert {key for key in TEXTS if key not in used and not key.startswith(BUILT)} == set()


def test_no_words_for_people_stand_in_the_pages_themselves() -> None:
    # Words apart from markup: letters, a blank, letters, and no sign of HTML, CSS, a header or a format.
    found = {
        text.strip()
        for path in PAGES
        for text in literals(path)
        if len(text.split()) >= 2 and not set(text) & set("<>=\"';{}%/")
    }
    # One of the API's values, which is looked up and not shown.
    assert found == {"charge and discharge"}
