"""The two ways in which a tool fails, for the model: fix the arguments, or stop and report."""


class ToolError(Exception):
    """The root of both; `kind` is what the model and the thread see."""

    kind = "error"


class ToolInputError(ToolError):
    """The arguments are wrong; the message says what to put instead."""

    kind = "input"


class ToolUnavailableError(ToolError):
    """What the tool needs is not there (no reading, no forecast, no database): stop and report, do not guess."""

    kind = "unavailable"
