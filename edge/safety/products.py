"""Reserve products that the trusted core knows: how long full activation lasts and how much more power is asked.

A product that is not listed is refused. Durations marked [I] are our own default until a market rule is on record.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edge.plan import GridReserve


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveProduct:
    """What a limited energy reservoir must be able to do for one product.

    Attributes:
        full_activation_h: How long full activation lasts, h.
        power_factor: Power that must be there over the power that is offered.
        opposite_frac: Power the other way that must be there too, as a share of the offer.
        symmetric: Up and down must be equal.
    """

    full_activation_h: float
    power_factor: float = 1.0
    opposite_frac: float = 0.0
    symmetric: bool = False


# Svenska kraftnät's rules for limited energy reservoirs (DOMAIN.md section 4) for fcr_n and fcr_d; fcr, afrr, mfrr [I].
# FFR is left out: it is beyond 1 s sampling, and no site declares a frequency meter that is fast enough.
PRODUCTS: Mapping[str, ReserveProduct] = {
    "fcr_n": ReserveProduct(full_activation_h=1.0, power_factor=1.34, symmetric=True),
    "fcr_d": ReserveProduct(full_activation_h=1.0 / 3.0, opposite_frac=0.2),
    "fcr": ReserveProduct(full_activation_h=0.5, power_factor=1.25, symmetric=True),
    "afrr": ReserveProduct(full_activation_h=1.0),
    "mfrr": ReserveProduct(full_activation_h=1.0),
}


def reserve_powers(reserve: GridReserve) -> tuple[float, float]:
    """Return the power up and down that must be there, W, with the product's margin; an unknown product: as offered."""
    product = PRODUCTS.get(reserve.product)
    if product is None:
        return reserve.up_w, reserve.down_w
    up_w = max(reserve.up_w * product.power_factor, reserve.down_w * product.opposite_frac)
    down_w = max(reserve.down_w * product.power_factor, reserve.up_w * product.opposite_frac)
    return up_w, down_w


def activation_wh(reserve: GridReserve) -> float:
    """Return the energy of one worst-case full activation, Wh: as declared, or as the product's duration takes."""
    product = PRODUCTS.get(reserve.product)
    return (
        reserve.energy_wh
        if product is None
        else max(reserve.energy_wh, max(reserve_powers(reserve)) * product.full_activation_h)
    )
