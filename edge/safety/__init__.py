"""The trusted core: decides whether a plan is safe. Standard library, `telemetry.model` and `edge.plan` only."""
