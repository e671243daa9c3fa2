"""All words of the console stand in one place: no call that draws is given a worded literal."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import ui.console

FOLDER = Path(ui.console.__path__[0])
# Files without words for people: rules of style, scripts, addresses; and the place of all words itself.
LEFT_OUT = {"texts.py", "style.py", "serve.py", "kept_login.py", "sign_in.py", "api_client.py"}
# Said to machines, never shown.
UNSEEN = {
    "key", "icon", "type", "color", "colour", "mode", "format", "width", "height", "unit", "dash", "axis", "kind", "field",
    "gap", "position", "layout", "orientation", "hovermode", "barmode", "xref", "yref", "xanchor", "yanchor", "symbol",
    "annotation_position", "textposition", "scaleanchor", "rangemode", "hoverinfo", "categoryorder", "on_click", "on_select",
    "selection_mode", "autocomplete", "uirevision", "dragmode", "autorange", "vertical_alignment", "horizontal_alignment", "scope", "status", "method", "path",
    "metric", "quantity", "start", "end", "state", "fill", "fillcolor", "ticksuffix", "page_icon", "default", "visibility",
    "on_change", "url_path", "subject", "site", "plan", "thread", "incident", "document", "change", "initial_sidebar_state",
}  # fmt: skip
# What draws: Streamlit's calls, and ours that hand a text on to one.
DRAWS = {"st", "figure", "go", "column_config"}
HANDED_ON = {
    "line",
    "band",
    "mark",
    "blank",
    "ask",
    "said",
    "attempt",
    "show_header",
    "forecast_onto",
    "reason_button",
}
# Units, signs and marks of layout are no words.
UNITS = re.compile(r"\b(?:kWh|kW|Wh|W|V|h|s|d|min|mΩ|DD MMM HH|mm|ss|x|y)\b")
MARKS = re.compile(r":material/\w+:|<[^>]*>|%\{[^}]*\}|%\.\df|[*#\-_]")
WORD = re.compile(r"[A-Za-zÄÖÜäöüß]{2,}")
# A form's first argument is its key, a message's whose it is; markup is made where its words are known.
NOT_DRAWN = {
    "form", "chat_message", "html", "query_params", "session_state", "context", "get_option", "fragment", "switch_page", "rerun",
    "cache_data",
}  # fmt: skip


def worded(text: str) -> bool:
    return bool(WORD.search(UNITS.sub("", MARKS.sub("", text))))


def literals(node: ast.expr) -> Iterator[str]:
    """Yield the literal texts of an argument; what another call makes of them is that call's."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            for part in parts:
                if isinstance(part, ast.Constant):
                    yield str(part.value)
        case ast.IfExp(body=one, orelse=other):
            yield from literals(one)
            yield from literals(other)
        case ast.BinOp(left=one, right=other) | ast.BoolOp(values=[one, other]):
            yield from literals(one)
            yield from literals(other)
        case ast.List(elts=each) | ast.Tuple(elts=each):
            for one in each:
                yield from literals(one)


def root_of(func: ast.expr) -> tuple[str, str]:
    """Return the first and the last name of what is called."""
    last = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    while isinstance(func, ast.Attribute | ast.Call):
        func = func.value if isinstance(func, ast.Attribute) else func.func
    return (func.id if isinstance(func, ast.Name) else ""), last


def faults(source: str) -> list[str]:
    """Return every worded literal that a call draws, with its line."""
    found = []
    for call in (one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Call)):
        root, last = root_of(call.func)
        if (root not in DRAWS and last not in HANDED_ON) or last in NOT_DRAWN:
            continue
        if isinstance(call.func, ast.Attribute) and "query_params" in ast.unparse(call.func):
            continue
        # Of what is ours to hand on, the second place may be a key.
        given = call.args[:1] if last in {"ask", "show_header", "reason_button"} else call.args
        seen = [*given, *(word.value for word in call.keywords if word.arg not in UNSEEN)]
        found += [f"line {call.lineno}: {text!r}" for arg in seen for text in literals(arg) if worded(text)]
    return found


def test_no_call_that_draws_is_given_words_of_its_own() -> None:
    found = {
        str(path.relative_to(FOLDER)): lines
        for path in sorted(FOLDER.rglob("*.py"))
        if path.name not in LEFT_OUT and (lines := faults(path.read_text()))
    }
    assert found == {}


def test_the_check_sees_words_and_lets_units_and_keys_pass() -> None:
    assert faults('st.markdown(f"- no. {one}")') == ["line 1: '- no. '"]
    assert faults('figure.add_trace(go.Bar(name="commanded" if x else texts.Y))') == ["line 1: 'commanded'"]
    assert faults('mark(figure, at, "now")') == ["line 1: 'now'"]
    assert faults('st.button(texts.GO, key="go there", icon=":material/bolt:")') == []
    assert faults('go.Scatter(hovertemplate="%{y:,.2f} kW<extra></extra>")') == []
