"""Reserve products as data: what a market asks of a site's answer to frequency (`products.yaml`)."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]


class Shape(StrEnum):
    """How a product answers: in proportion to the deviation, or whole at a trigger."""

    DROOP = "droop"
    STEP = "step"


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reserve product's rule for the site (DOMAIN.md section 4).

    `activation_s` is the slowest full activation that the product allows; `react_s` how soon the answer must begin,
    `half_s` when half of it must be there (None: no such rule). A step product is triggered at `trigger_hz` or below,
    holds `hold_s` at least and is ready again `ready_s` after its activation. `full_h` is how long one full activation
    lasts: a site must hold that energy, whatever the command's own account says.
    """

    shape: Shape
    react_s: Positive
    activation_s: Positive
    full_h: Positive
    half_s: Positive | None = None
    hold_s: NotNegative = 0.0
    ready_s: NotNegative = 0.0
    trigger_hz: Positive | None = None
    symmetric: bool = False

    def __post_init__(self) -> None:
        if (self.shape is Shape.STEP) is not (self.trigger_hz is not None):
            raise ValueError("a step product, and only that, has a trigger_hz")
        if not self.react_s <= self.activation_s:
            raise ValueError("react_s must not be longer than activation_s")


def parse_products(text: bytes) -> dict[str, Product]:
    """Return the products of a YAML document, by name.

    Raises:
        msgspec.ValidationError: A key is unknown, missing or wrong.
    """
    return msgspec.yaml.decode(text, type=dict[str, Product])


@cache
def shipped_products() -> dict[str, Product]:
    """Return the products that ship with the gateway."""
    return parse_products(files("edge.gateway").joinpath("products.yaml").read_bytes())
