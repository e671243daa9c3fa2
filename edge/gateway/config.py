"""The gateway's one YAML file: strict, unknown keys refused, every number with its unit in its name."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edge.gateway.frequency import FastPath
from edge.gateway.limits import OwnLimits
from edge.gateway.local import LocalRule
from edge.gateway.recharge import RechargeRule
from edge.gateway.shed import ShedRule
from telemetry.model.errors import ControlError
from telemetry.model.site import SiteId, SiteMode


class ConfigError(ControlError):
    """The file says something that cannot be; the message names the key."""


class Pacing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often things happen, in domain time; at a clock speed above 1 never more often than the wall bounds say.

    `revert_s` is armed in the device with every voltage written: without the gateway the device is at float when it
    has run out. It is refreshed at a third of it. `report_spread_s`: at a mains loss, which a whole region shares, each
    gateway releases at once and speaks at a random moment within this.
    """

    control_s: float = 1.0
    mains_s: float = 0.2
    publish_s: float = 10.0
    revert_s: float = 45.0
    control_min_wall_s: float = 0.1
    publish_min_wall_s: float = 0.5
    ramp_w_per_s: float = 1000.0
    backlog_per_s: float = 20.0
    resend_after_s: float = 60.0
    clock_jump_s: float = 5.0
    report_spread_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.mains_s <= 0.25:
            raise ValueError("mains_s must be in (0, 0.25]: the mains state is looked at 4 times a second")
        if not 0.0 < self.control_s <= 2.0 or not self.control_s <= self.publish_s <= 60.0:
            raise ValueError("needs 0 < control_s <= 2 and control_s <= publish_s <= 60")
        if not 5.0 <= self.revert_s <= 60.0:
            raise ValueError("revert_s must be in 5..60: a dead gateway's site is at float within a minute")
        if not 0.0 <= self.report_spread_s <= 5.0:
            raise ValueError("report_spread_s must be in 0..5: an alarm does not wait longer")
        for name in ("control_min_wall_s", "publish_min_wall_s", "ramp_w_per_s", "backlog_per_s"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be above zero")


class SiteConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one gateway core needs to know about its site.

    `highest_mode` is what commissioning at the site allows: a mode command cannot go above it. `fault_alarms` are
    the device alarms that end a duty. `fast` is the declared frequency meter and actuator: without it the site offers
    no reserve.
    """

    site_id: Annotated[
        str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")
    ]
    root_public_b64: str
    limits: OwnLimits
    mode: SiteMode = SiteMode.SHADOW
    highest_mode: SiteMode = SiteMode.SHADOW
    recharge: RechargeRule = RechargeRule()
    shed: ShedRule = ShedRule()
    fast: FastPath | None = None
    local: LocalRule = LocalRule()
    pacing: Pacing = Pacing()
    fault_alarms: tuple[str, ...] = (
        "battery_string_open",
        "rectifier_module_fail",
        "low_voltage_disconnect",
        "battery_hot",
    )
    firmware: str = "0.1.0"

    def __post_init__(self) -> None:
        try:
            root = base64.b64decode(self.root_public_b64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"root_public_b64: {error}") from error
        limits = self.limits
        island = None if limits.export is None else limits.export.island
        if island is not None and not limits.soc_min_frac <= island.keep_soc_frac < limits.soc_max_frac:
            raise ValueError("limits.export.island: keep_soc_frac must lie within the SoC band")
        if len(root) != 32:
            raise ValueError(f"root_public_b64 holds {len(root)} bytes, an Ed25519 public key has 32")

    @property
    def root_public(self) -> bytes:
        return base64.b64decode(self.root_public_b64)

    @property
    def name(self) -> SiteId:
        return SiteId(self.site_id)


class BrokerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is and with which certificate the site comes (its common name is the site_id)."""

    url: str
    ca_file: Path
    certificate_file: Path
    key_file: Path


class GatewayFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file; `devices` is the device list that `edge.modbus` reads."""

    site: SiteConfig
    broker: BrokerConfig
    state_dir: Path
    devices: dict[str, Any]
    buffer_max_messages: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 60_480
    seed: int | None = None


def _to_path(kind: type, value: Any) -> Path:
    """Read what msgspec does not know by itself: paths, written as text."""
    if kind is not Path or not isinstance(value, str):
        raise ValueError(f"Expected a path, got {type(value).__name__}")
    return Path(value)


def read_config(path: Path) -> GatewayFile:
    """Return what the file says.

    Raises:
        ConfigError: It cannot be read, or a key is unknown, missing or wrong; the message names it.
    """
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=GatewayFile, dec_hook=_to_path)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: {error}") from error
