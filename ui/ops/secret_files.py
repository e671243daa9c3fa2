"""Reads a secret that a process was given as a file."""

import base64
import binascii
from pathlib import Path

from telemetry.model.errors import ControlError
from ui.ops.files import require_private

SEED_BYTES = 32


class SecretFileError(ControlError):
    """A secret's file does not hold what it should; the message names the file, never its content."""


def read_seed(path: Path) -> bytes:
    """Return the 32 bytes that a file holds in base64.

    Raises:
        SecretFileError: It holds something else.
        UnsafeFileError: Others may read the file.
    """
    require_private(path)
    try:
        seed = base64.b64decode(path.read_bytes().strip(), validate=True)
    except binascii.Error as error:
        raise SecretFileError(f"{path} is not base64") from error
    if len(seed) != SEED_BYTES:
        raise SecretFileError(f"{path} holds {len(seed)} bytes where {SEED_BYTES} belong")
    return seed
