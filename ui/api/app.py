"""The application: routes, the gate before them, errors after them, and its OpenAPI document."""

from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from starlette.middleware.gzip import GZipMiddleware

from ui.api import problems
from ui.api.answer_examples import add_examples
from ui.api.docs_page import docs_page
from ui.api.gatekeeper import Gate
from ui.api.phone_pages import html
from ui.api.routes import (
    accounts,
    catalogue,
    components,
    control,
    events,
    fleet,
    foresight,
    governance,
    health,
    incidents,
    insight,
    knowledge,
    notifications,
    objectives,
    oidc,
    ops,
    phone,
    plan_check,
    plans,
    profile_clusters,
    registry,
    session,
    telemetry,
    threads,
)
from ui.api.services import Services

_ABOUT = (
    "CellWatt: the backup batteries of cellular base stations as a virtual power plant. Log in with `POST /v1/session` and"
    " send the token as `Authorization: Bearer`. Power in W, energy in Wh, fractions 0..1, instants UTC; charging is"
    " positive, discharging negative. `x-roles` of each operation are the roles that may use it. Errors are"
    " `application/problem+json` and name the field. An `Idempotency-Key` makes an act that is sent twice happen once."
)
_COMPRESS_FROM_BYTES = 1_000
_MODULES = (
    ops,
    session,
    oidc,
    fleet,
    registry,
    catalogue,
    telemetry,
    incidents,
    events,
    foresight,
    governance,
    health,
    notifications,
    insight,
    components,
    profile_clusters,
    knowledge,
    plans,
    plan_check,
    control,
    threads,
    objectives,
    accounts,
    phone,
)


def create_app(services: Services) -> FastAPI:
    """Return the application over opened services."""
    app = FastAPI(title="CellWatt", version="1", description=_ABOUT, docs_url=None, redoc_url=None)
    app.state.services = services
    problems.install(app)
    for module in _MODULES:
        app.include_router(module.router)
    app.add_middleware(GZipMiddleware, minimum_size=_COMPRESS_FROM_BYTES, compresslevel=1)
    # Added last, so that it stands first: nothing runs for somebody unknown.
    app.add_middleware(
        Gate, gatekeeper=services.gatekeeper, settings=services.settings, metrics=services.metrics
    )
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """Show how the API is used."""
        return html(docs_page(app.openapi()))

    return app


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        problems.add_schema(document)
        for item in document["paths"].values():
            for operation in item.values():
                if any(one["name"] == "If-None-Match" for one in operation.get("parameters", ())):
                    operation["responses"]["304"] = {"description": "as the caller has it already"}
                if "requestBody" in operation:
                    operation["responses"].update(problems.documented_text(413))
        document["components"].setdefault("securitySchemes", {})["bearer"] = {
            "type": "http",
            "scheme": "bearer",
        }
        add_examples(document)
        app.openapi_schema = document
    return app.openapi_schema
