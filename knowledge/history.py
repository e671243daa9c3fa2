"""Past incidents and decisions as documents, so that "have we seen this before?" is a search. Pure.

What a device or a person wrote is kept as text to be read; nothing in it is obeyed.
"""

from collections.abc import Mapping
from datetime import datetime

from knowledge.documents import Document, DocumentKind
from telemetry.model.incident import Incident, IncidentState

_SOURCE = "recorded by the product"


def incident_document(incident: Incident, *, simulated: bool) -> Document:
    """Return an incident as a page of its own; its id is `incident/<id>`.

    Args:
        incident: Open or closed; import it again when it has changed.
        simulated: Whether the site is a simulated one.
    """
    lasts = "closed" if incident.state is IncidentState.CLOSED else "still open"
    ended = lasts if incident.until is None else f"ended {_when(incident.until)}"
    facts = [f"- {_words(key)}: {_fact(value)}" for key, value in sorted(incident.evidence.items())]
    history = [
        f"- {_when(one.at)}, {_fact(one.who)}: {one.state.value}. {_fact(one.why)}"
        for one in incident.history
    ]
    label = "**Simulated site.**\n\n" if simulated else ""
    what = f"{_words(incident.kind)}, severity {incident.severity.value}, state {incident.state.value}"
    parts = (
        f"{label}At site {incident.site_id}: {what}. Began {_when(incident.since)}, {ended}.",
        "## Evidence\n\n" + ("\n".join(facts) or "none recorded"),
        "## What was done\n\n" + ("\n".join(history) or "nothing recorded"),
    )
    return Document(
        document_id=f"incident/{incident.incident_id}",
        title=f"Incident at {incident.site_id}: {_words(incident.kind)}",
        kind=DocumentKind.INCIDENT,
        text="\n\n".join(parts),
        sources=(_SOURCE,),
        site_ids=(incident.site_id,),
        written_on=incident.since.date(),
        simulated=simulated,
    )


def decision_document(
    decision_id: str,
    *,
    title: str,
    why: str,
    at: datetime,
    site_ids: tuple[str, ...],
    figures: Mapping[str, float],
    simulated: bool,
) -> Document:
    """Return a decision (a plan carried out, declined, expired, given up, or not made) as a page; its id is `decision/<id>`.

    Args:
        decision_id: The plan's id, or what names a decision to do nothing (`agents.past`).
        title: What was decided, in a line.
        why: The explanation that was given then.
        at: Aware UTC.
        site_ids: Sites concerned.
        figures: Name with its unit at the end, to the number.
        simulated: Whether any site is a simulated one.
    """
    numbers = "\n".join(f"- {_words(name)}: {value:g}" for name, value in sorted(figures.items()))
    label = "**Simulated sites.**\n\n" if simulated else ""
    return Document(
        document_id=f"decision/{decision_id}",
        title=title,
        kind=DocumentKind.DECISION,
        text=f"{label}{_when(at)}. {why}\n\n## Figures\n\n{numbers or 'none recorded'}",
        sources=(_SOURCE,),
        site_ids=site_ids,
        written_on=at.date(),
        simulated=simulated,
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _when(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _fact(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    # One line each: a text with headings or bars of its own would change the page's shape.
    return " ".join(text.split())
