"""The trusted core's own battery: what is in it, what may go in and out (plain Python, shared with nobody).

Energy is counted as it comes out at the terminals, Wh, from the low-voltage disconnect upward: discharging `w` for an
hour takes `w`, whatever the losses inside. The measured SoC counts as lower than it says, by the SoC's own error.
"""

from dataclasses import dataclass

from telemetry.model.battery import Battery, TemperatureBand


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A battery at its present temperature and age.

    Attributes:
        backup_wh: Energy above the disconnect that is surely there.
        dispatch_floor_wh: The level below which dispatch never goes: the rectifier's backstop (with the SoC's error) or
            the registry's lowest SoC, whichever is higher.
        credit_frac: Terminal energy that surely comes back for each Wh that goes in.
        full_wh: Present full capacity, rated x SoH.
        soc_frac: SoC as measured.
        charge_frac_per_wh: SoC gained for each Wh that goes in, at most.
        discharge_frac_per_wh: SoC lost for each Wh that comes out.
        max_charge_w: What the cells take at this temperature.
        max_discharge_w: What the cells give at this temperature.
    """

    backup_wh: float
    dispatch_floor_wh: float
    credit_frac: float
    full_wh: float
    soc_frac: float
    charge_frac_per_wh: float
    discharge_frac_per_wh: float
    max_charge_w: float
    max_discharge_w: float


def pack_from(battery: Battery, band: TemperatureBand, soc_frac: float, soh_frac: float) -> Pack:
    """Return the battery as it stands.

    A cold battery gives only `capacity_frac` of what it holds; what is charged into it counts with the same share.
    SoH above 1 (a new battery that tests above its plate) counts as 1.

    Source:
        Derating by temperature: DOMAIN.md section 3; error of the SoC and energy to the disconnect: section 1.
    """
    full_wh = battery.rated_wh * min(1.0, soh_frac)
    given_wh = full_wh * band.capacity_frac * battery.discharge_efficiency
    lowest_frac = max(battery.backstop_soc_frac, battery.soc_min_frac - battery.soc_error_frac)
    return Pack(
        backup_wh=given_wh * (soc_frac - battery.soc_error_frac - battery.disconnect_soc_frac),
        dispatch_floor_wh=given_wh * (lowest_frac - battery.disconnect_soc_frac),
        credit_frac=battery.charge_efficiency * band.capacity_frac * battery.discharge_efficiency,
        full_wh=full_wh,
        soc_frac=soc_frac,
        charge_frac_per_wh=battery.charge_efficiency / full_wh,
        discharge_frac_per_wh=1.0 / (battery.discharge_efficiency * full_wh),
        max_charge_w=band.charge_c_rate * battery.rated_wh,
        max_discharge_w=band.discharge_c_rate * battery.rated_wh,
    )
