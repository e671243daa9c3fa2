"""The project's files as these tests see them: what git tracks or would track, and nothing that tools left behind."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agents", "tools", "telemetry", "knowledge", "ui", "edge")
_LEFT_BEHIND = re.compile(r"(^|/)(\.[^/]+|__pycache__|build|dist|[^/]+\.egg-info)/")
_SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+(\S+\s+)?SET\s|DELETE\s+FROM\s|WITH\s+(RECURSIVE\s+)?\w+.{0,80}?\sAS\s*\()",
    re.DOTALL,
)


def project_files(root: Path = ROOT) -> list[Path]:
    """Return the files, relative to the root; outside of a git checkout every file that is not a tool's."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
        names = [name for name in names if not _LEFT_BEHIND.search(name)]
    return sorted(Path(name) for name in set(names) if (root / name).is_file())


def text_of(path: Path) -> str:
    """Return a file's text; empty where it is not text."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def sql_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string in Python source that is a statement on rows; docstrings are not strings."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in docs:
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if _SQL.match(text):
                yield node.lineno, " ".join(text.split())[:60]
