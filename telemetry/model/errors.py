"""Errors of a broken world; an outcome we expect is a value, not one of these."""

from __future__ import annotations


class ControlError(Exception):
    """The root of every error that stops a control action."""
