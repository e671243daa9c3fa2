"""What a tool's arguments have in common, and a few fields that several tools take."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Arguments(BaseModel):
    """Arguments of a tool, or an option of a planner: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoArguments(Arguments):
    """No arguments."""


SiteIdText = Annotated[
    str, Field(min_length=1, max_length=64, description="a site_id, as fleet_state lists them")
]
FeederIdText = Annotated[
    str, Field(min_length=1, max_length=64, description="a feeder_id, as fleet_state lists them")
]
PlanIdText = Annotated[str, Field(min_length=1, max_length=80, description="a plan_id")]
