"""What a simulated SunSpec device answers, point by point, in SunSpec's own signs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.simulator.plant import Plant
from edge.simulator.sensors import Sensors


@dataclass(frozen=True, slots=True)
class SiteReading:
    """One site of a plant, seen through its sensors."""

    site: int
    plant: Plant
    sensors: Sensors

    def sensed(self, name: str) -> float:
        """Return this site's reading of a sensor."""
        return float(self.sensors.values[name][self.site])


SCALES: dict[int, dict[str, int]] = {
    103: {"A_SF": -1, "V_SF": -1, "W_SF": 0, "Hz_SF": -2, "WH_SF": 0, "DCV_SF": -2, "DCW_SF": 0, "Tmp_SF": 0},
    203: {"A_SF": -1, "V_SF": -1, "Hz_SF": -2, "W_SF": 0, "TotWh_SF": 0},
    160: {"DCA_SF": -1, "DCV_SF": -2, "DCW_SF": 0, "DCWH_SF": 0},
    124: {
        "WChaMax_SF": 0, "WChaDisChaGra_SF": 0, "VAChaMax_SF": 0, "MinRsvPct_SF": 0, "ChaState_SF": -1,
        "StorAval_SF": 0, "InBatV_SF": -2, "InOutWRte_SF": -2,
    },
    701: {
        "A_SF": -1, "V_SF": -1, "Hz_SF": -3, "W_SF": 0, "PF_SF": -2, "VA_SF": 0, "Var_SF": 0, "TotWh_SF": 0,
        "TotVarh_SF": 0, "Tmp_SF": 0,
    },
    704: {"WSet_SF": 0, "WSetPct_SF": 0, "WMaxLimPct_SF": 0, "PF_SF": -2, "VarSet_SF": 0, "VarSetPct_SF": 0},
    713: {"WH_SF": 0, "Pct_SF": -1},
    714: {"DCA_SF": -1, "DCV_SF": -2, "DCW_SF": 0, "DCWH_SF": 0, "Tmp_SF": 0},
    802: {
        "AHRtg_SF": -1, "WHRtg_SF": 0, "WChaDisChaMax_SF": 0, "SoC_SF": -1, "SoH_SF": -1, "V_SF": -2,
        "CellV_SF": -3, "A_SF": -1, "AMax_SF": -1, "W_SF": 0, "DoD_SF": -1, "DisChaRte_SF": 0,
    },
}  # fmt: skip

Read = Callable[[SiteReading], float | str]


def _rated_wh(d: SiteReading) -> float:
    return d.plant.specs[d.site].rated_wh


def _phase_w(d: SiteReading, phase: int) -> float:
    true_w = float(d.plant.state.grid_w[d.site])
    share = float(d.plant.state.phase_w[d.site, phase]) / true_w if true_w != 0.0 else 0.0
    return d.sensed("grid_w") * share


VALUES: dict[tuple[int, str], Read | float | str] = {
    (1, "Mn"): "CellWatt simulated",
    (1, "Md"): "site plant",
    (1, "Vr"): "1",
    (1, "SN"): lambda d: d.plant.specs[d.site].site_id,
    (1, "DA"): 2.0,
    (203, "A"): lambda d: d.sensed("grid_w") / 230.0,
    (203, "AphA"): lambda d: _phase_w(d, 0) / 230.0,
    (203, "AphB"): lambda d: _phase_w(d, 1) / 230.0,
    (203, "AphC"): lambda d: _phase_w(d, 2) / 230.0,
    (203, "PhV"): lambda d: d.sensed("grid_v"),
    (203, "PhVphA"): lambda d: d.sensed("grid_v"),
    (203, "PhVphB"): lambda d: d.sensed("grid_v"),
    (203, "PhVphC"): lambda d: d.sensed("grid_v"),
    (203, "PPV"): lambda d: d.sensed("grid_v") * 3.0**0.5,
    (203, "Hz"): lambda d: d.sensed("grid_hz"),
    (203, "W"): lambda d: d.sensed("grid_w"),
    (203, "WphA"): lambda d: _phase_w(d, 0),
    (203, "WphB"): lambda d: _phase_w(d, 1),
    (203, "WphC"): lambda d: _phase_w(d, 2),
    (203, "TotWhImp"): lambda d: max(float(d.plant.state.energy.mains[d.site]), 0.0),
    (203, "TotWhExp"): 0.0,
    (203, "Evt"): 0.0,
    (103, "A"): lambda d: abs(d.sensed("inverter_w")) / 230.0,
    (103, "AphA"): lambda d: abs(d.sensed("inverter_w")) / 690.0,
    (103, "AphB"): lambda d: abs(d.sensed("inverter_w")) / 690.0,
    (103, "AphC"): lambda d: abs(d.sensed("inverter_w")) / 690.0,
    (103, "PhVphA"): lambda d: d.sensed("grid_v"),
    (103, "PhVphB"): lambda d: d.sensed("grid_v"),
    (103, "PhVphC"): lambda d: d.sensed("grid_v"),
    (103, "W"): lambda d: -d.sensed("inverter_w"),  # generation positive
    (103, "Hz"): lambda d: d.sensed("grid_hz"),
    (103, "WH"): 0.0,
    (103, "DCV"): lambda d: d.sensed("bus_v"),
    (103, "TmpCab"): lambda d: float(d.plant.state.cabinet_c[d.site]),
    (103, "St"): lambda d: 4.0 if d.sensed("inverter_w") != 0.0 else 8.0,
    (103, "Evt1"): 0.0,
    (103, "Evt2"): 0.0,
    (701, "ACType"): 2.0,  # three phases
    (701, "St"): 1.0,
    (701, "InvSt"): lambda d: 3.0 if d.sensed("inverter_w") != 0.0 else 7.0,  # running or standby
    (701, "ConnSt"): 1.0,
    (701, "Alrm"): 0.0,
    (701, "W"): lambda d: -d.sensed("inverter_w"),  # generation positive
    (701, "WL1"): lambda d: -d.sensed("inverter_w") / 3.0,
    (701, "WL2"): lambda d: -d.sensed("inverter_w") / 3.0,
    (701, "WL3"): lambda d: -d.sensed("inverter_w") / 3.0,
    (701, "LNV"): lambda d: d.sensed("grid_v"),
    (701, "LLV"): lambda d: d.sensed("grid_v") * 3.0**0.5,
    (701, "Hz"): lambda d: d.sensed("grid_hz"),
    (124, "WChaMax"): lambda d: d.plant.specs[d.site].inverter_w,
    (124, "WChaGra"): 100.0,
    (124, "WDisChaGra"): 100.0,
    (124, "ChaState"): lambda d: 100.0 * d.sensed("soc_frac"),
    (124, "InBatV"): lambda d: d.sensed("bus_v"),
    (124, "ChaSt"): 6.0,
    (160, "N"): 1.0,
    (160, "Evt"): 0.0,
    (160, "ID#0"): 1.0,
    (160, "IDStr#0"): "PV",
    (160, "DCW#0"): lambda d: d.sensed("pv_w"),
    (160, "DCV#0"): lambda d: d.sensed("bus_v"),
    (160, "DCA#0"): lambda d: d.sensed("pv_w") / max(d.sensed("bus_v"), 1.0),
    (160, "DCSt#0"): lambda d: 4.0 if d.sensed("pv_w") > 0.0 else 2.0,
    (713, "WHRtg"): _rated_wh,
    (713, "WHAvail"): lambda d: max(float(d.plant.stored_wh()[d.site]), 0.0),
    (713, "SoC"): lambda d: 100.0 * d.sensed("soc_frac"),
    (713, "SoH"): lambda d: 100.0 * d.sensed("soh_frac"),
    (713, "Sta"): 0.0,
    (714, "NPrt"): 1.0,
    (714, "PrtAlrms"): 0.0,
    (714, "DCW"): lambda d: -d.sensed("meter_battery_w"),  # injection positive
    (714, "DCA"): lambda d: -d.sensed("meter_battery_w") / max(d.sensed("bus_v"), 1.0),
    (714, "PrtTyp#0"): 1.0,
    (714, "ID#0"): 1.0,
    (714, "DCW#0"): lambda d: -d.sensed("meter_battery_w"),
    (714, "DCV#0"): lambda d: d.sensed("bus_v"),
    (714, "DCSta#0"): 1.0,
    (802, "AHRtg"): lambda d: d.plant.specs[d.site].strings * d.plant.specs[d.site].string_ah,
    (802, "WHRtg"): _rated_wh,
    (802, "WChaRteMax"): lambda d: 0.5 * _rated_wh(d),
    (802, "WDisChaRteMax"): _rated_wh,
    (802, "SoC"): lambda d: 100.0 * d.sensed("soc_frac"),
    (802, "SoH"): lambda d: 100.0 * d.sensed("soh_frac"),
    (802, "LocRemCtl"): lambda d: d.sensed("local_lock"),
    (802, "AlmRst"): 0.0,
    (802, "Typ"): lambda d: 4.0 if d.plant.specs[d.site].chemistry == "lfp" else 1.0,
    (802, "State"): 3.0,
    (802, "Evt1"): 0.0,
    (802, "Evt2"): 0.0,
    (802, "EvtVnd1"): 0.0,
    (802, "EvtVnd2"): 0.0,
    (802, "V"): lambda d: d.sensed("bus_v"),
    (802, "A"): lambda d: -d.sensed("battery_a"),
    (802, "W"): lambda d: -d.sensed("battery_a") * d.sensed("bus_v"),
    (802, "SetOp"): 1.0,
    (802, "SetInvState"): 3.0,
}
