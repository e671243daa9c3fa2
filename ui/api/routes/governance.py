"""What governs the agent: who must approve what by the policy in force, which planner answers, and what it may use."""

from datetime import timedelta

from fastapi import APIRouter

from edge.plan import ApprovalTier
from ui.api.access import ServicesHere, may
from ui.api.model_use import Limits, ModelSettings, Planner
from ui.api.model_use_store import ModelUseStore
from ui.api.roles import Role
from ui.api.schemas import Schema

router = APIRouter(prefix="/v1/settings", tags=["settings"])
_DAY = timedelta(hours=24)
_LEAST_FIRST = (ApprovalTier.AUTOMATIC, ApprovalTier.ONE_PERSON, ApprovalTier.TWO_PERSONS)


class TierOut(Schema):
    """How far one tier reaches; a plan must be inside in every respect. Depth is a share of the present full capacity."""

    tier: str
    max_total_w: float
    max_sites: int
    max_depth_frac: float
    objectives: list[str]
    modes: list[str]
    simulated_only: bool
    max_validity_h: float


class PolicyOut(Schema):
    """The tiers in force, the least first. Without any nobody may approve anything, and `why` says why there is none."""

    tiers: list[TierOut]
    why: str


class LimitsOut(Schema):
    """The most that models may use; null: no limit."""

    tokens: int | None
    money: float | None


class ModelUseOut(Schema):
    """What one model used in the last 24 h."""

    model: str
    answers: int
    tokens: int
    money: float


class ModelOut(Schema):
    """Which planner is asked first (the policy planner stands behind the others), who answered last, and what was used.

    `host` is the endpoint's, without path or credentials; `used` is of the last 24 h; money is 0 where no price is set.
    """

    planner: Planner
    name: str
    host: str
    answered_last: str
    per_thread: LimitsOut
    per_day: LimitsOut
    used: list[ModelUseOut]
    used_tokens: int
    used_money: float


@router.get("/policy", **may(Role.OPERATOR))
async def policy(services: ServicesHere) -> PolicyOut:
    """Show who must approve what by the policy file as it is now."""
    found = services.policy()
    return PolicyOut(
        tiers=[
            TierOut(
                tier=tier.value,
                max_total_w=scope.max_total_w,
                max_sites=scope.max_sites,
                max_depth_frac=scope.max_depth_frac,
                objectives=sorted(kind.value for kind in scope.objectives),
                modes=sorted(mode.value for mode in scope.modes),
                simulated_only=scope.simulated_only,
                max_validity_h=scope.max_validity / timedelta(hours=1),
            )
            for tier in _LEAST_FIRST
            if (scope := found.tiers.get(tier)) is not None
        ],
        why=found.why,
    )


@router.get("/model", **may(Role.OPERATOR))
async def model(services: ServicesHere) -> ModelOut:
    """Show which planner answers and what language models used in the last 24 h against what they may."""
    store, chosen = ModelUseStore(services.pool), services.model
    used = [
        ModelUseOut(
            model=one.model,
            answers=one.answers,
            tokens=one.prompt_tokens + one.answer_tokens,
            money=chosen.money(one.prompt_tokens, one.answer_tokens),
        )
        for one in await store.since(services.clock.now() - _DAY)
    ]
    return _model_out(chosen, await store.answered_last(), used)


def _model_out(chosen: ModelSettings, answered_last: str, used: list[ModelUseOut]) -> ModelOut:
    return ModelOut(
        planner=chosen.planner,
        name=chosen.name,
        host=chosen.host,
        answered_last=answered_last,
        per_thread=_limits(chosen.thread),
        per_day=_limits(chosen.day),
        used=used,
        used_tokens=sum(one.tokens for one in used),
        used_money=sum(one.money for one in used),
    )


def _limits(limits: Limits) -> LimitsOut:
    return LimitsOut(tokens=limits.tokens, money=limits.money)
