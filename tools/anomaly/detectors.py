"""The detectors: what each kind of trouble should leave behind, learnt on one window and scored on the next.

Every score is in units of what one step in 200 reached while learning, so that kinds compare with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tools.anomaly.expected import (
    CalendarFit,
    Floats,
    RelationFit,
    fit_calendar,
    fit_relation,
    peer_common,
    robust_scale,
)
from tools.anomaly.frame import FleetFrame
from tools.anomaly.kinds import Kind, KindScore
from tools.anomaly.relations import (
    RELATIONS,
    RelationKind,
    best_pv_w,
    dc_excess_w,
    drivers_of,
    proportional_share,
    target_of,
    unit_of,
)
from tools.anomaly.scores import Calibration, calibrate, signed_score
from tools.anomaly.sensors import (
    STUCK_FIELDS,
    Spoilt,
    anywhere,
    exchanged,
    gap_length,
    longest_of,
    quieted,
    run_length,
    silence,
    stuck,
)

FloatArray = npt.NDArray[np.float64]

TAIL = 0.005
LEAST_KNOWN = 8
"""Steps behind a relation at a site below which nothing is said there: two hours of charge or discharge."""
MOST_WILD = 2.5
DRIFTED, UNSURE = 2.0, 1.0
RAISED = 6.0
"""Spreads from which an excess of power counts as evidence of where it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadModel:
    """Expectation of the load: calendar and the peers' common move.

    Attributes:
        fit: Calendar fit per site.
        shape: Spread of the residual by step of the day relative to its mean, shape (steps per day,).
        calibration: Spread of the statistics once the peers' move is taken out.
    """

    fit: CalendarFit
    shape: FloatArray
    calibration: Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A learnt physical relation and the spread of its statistics; `rated_w` per site matters to PV alone."""

    kind: RelationKind
    fit: RelationFit
    calibration: Calibration
    rated_w: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """Everything learnt from a window of normal operation (a few faults in it do no harm).

    Attributes:
        load: The load's model, or None when no site measures it.
        tail: Score that one step in 200 of the learning window passed, by kind: the unit of all scores.
        wildness: How far each site's own tail lies above the fleet's, 1 to 3, shape (sites,), by kind: some loads leap by
            themselves.
        relations: Learnt relations whose fields are there.
        longest_run: Field to the longest run of one value, shape (sites,), in steps.
        longest_gap: Longest silence of each site, shape (sites,), in steps.
    """

    load: LoadModel | None
    tail: Mapping[Kind, float]
    wildness: Mapping[Kind, FloatArray]
    relations: tuple[Relation, ...]
    longest_run: dict[str, FloatArray]
    longest_gap: FloatArray

    def scan(self, frame: FleetFrame) -> tuple[KindScore, ...]:
        """Score a later window of the same sites, each kind at every step.

        What cannot be read or is wired wrongly is the finding: kinds that rest on such a sensor are quiet meanwhile.
        """
        frozen = [stuck(frame, name, longest) for name, longest in self.longest_run.items()]
        swaps = exchanged(frame, {one.kind.name: one.fit for one in self.relations})
        spoilt = [*((one, (one.field,)) for one in frozen), *swaps]
        found = [silence(frame, self.longest_gap), *frozen, *(one for one, _ in swaps)]
        drift = self._named(frame, Kind.SENSOR_DRIFT, spoilt)
        balance = self._named(frame, Kind.ENERGY_THEFT, spoilt)
        found += drift
        # The DC balance is off. Where the AC balance still holds, the load's meter is: the load is then what the others say.
        off = anywhere([self._in_tails(one, DRIFTED) for one in drift], frame)
        unsure = anywhere([self._in_tails(one, UNSURE) for one in balance], frame)
        spoilt += [
            (replace(one, score=np.where(off & unsure, one.score, 0.0)), ("rectifier_w",)) for one in drift
        ]
        if self.load is not None:
            read = frame.fields["load_w"]
            told = np.where(off & ~unsure, read - dc_excess_w(frame.fields), read) if drift else read
            trusted = replace(frame, fields={**frame.fields, "load_w": told})
            found.append(quieted(_load(trusted, self.load), spoilt, ("load_w",)))
        for relation in self.relations:
            if relation.kind.name != Kind.SENSOR_DRIFT.value:
                found += [quieted(one, spoilt, relation.kind.fields) for one in _relation(frame, relation)]
        return tuple(replace(one, score=one.score / self._unit(one.kind)) for one in found)

    def _unit(self, kind: Kind) -> FloatArray | float:
        """Return what a score of 1 is: the fleet's tail, times how much wilder the site is than others, shape (sites, 1)."""
        wildness = self.wildness.get(kind)
        tail = self.tail.get(kind, 1.0)
        return tail if wildness is None else tail * wildness[:, None]

    def _named(self, frame: FleetFrame, kind: Kind, spoilt: Sequence[Spoilt]) -> list[KindScore]:
        """Return how far one relation is off in either direction, as far as its sensors can be trusted."""
        return [
            quieted(one, spoilt, relation.kind.fields)
            for relation in self.relations
            if relation.kind.name == kind.value
            for one in _relation(frame, replace(relation, kind=replace(relation.kind, sign=0.0)))
        ]

    def _in_tails(self, one: KindScore, least: float) -> KindScore:
        """Return a score that is above zero only where it passes `least` times its tail."""
        limit = least * self._unit(one.kind)
        return replace(one, score=np.maximum(one.score - limit, 0.0))


def learn(frame: FleetFrame) -> Learnt:
    """Learn from a window; four weeks serve well, two are the least for the weekly shape."""
    load = _learn_load(frame) if "load_w" in frame.fields else None
    relations = []
    for kind in RELATIONS:
        if all(name in frame.fields for name in kind.fields):
            rated_w = best_pv_w(frame) if kind.name == Kind.PV.value else np.ones(len(frame.site_ids))
            target, drivers = target_of(frame, kind, rated_w), drivers_of(frame, kind)
            fit = _where_known(fit_relation(target, drivers), target, drivers)
            z = (target - fit.expected(drivers)) / fit.scale[:, None]
            relations.append(Relation(kind=kind, fit=fit, calibration=calibrate(z), rated_w=rated_w))
    runs = {name: longest_of(run_length(frame.fields[name])) for name in STUCK_FIELDS if name in frame.fields}
    raw = Learnt(
        load=load,
        tail={},
        wildness={},
        relations=tuple(relations),
        longest_run=runs,
        longest_gap=longest_of(gap_length(frame)),
    )
    scores = raw.scan(frame)
    tails = _tails(scores)
    return replace(raw, tail=tails, wildness=_wildness(scores, tails))


def _where_known(fit: RelationFit, target: Floats, drivers: Floats) -> RelationFit:
    """Return a fit that expects nothing (NaN) at sites where too few steps speak of it: it would expect zero there."""
    steps = (np.isfinite(target) & np.isfinite(drivers).all(axis=2)).sum(axis=1)
    level = np.where(steps[:, None] < LEAST_KNOWN, np.nan, fit.coefficients)
    return replace(fit, coefficients=level)


def _wildness(scores: tuple[KindScore, ...], tails: Mapping[Kind, float]) -> dict[Kind, FloatArray]:
    """Return each site's own tail over the fleet's, at most `MOST_WILD`: a fault while learning must not make one deaf."""
    return {
        one.kind: np.clip(np.quantile(one.score, 1.0 - TAIL, axis=1) / tails[one.kind], 1.0, MOST_WILD)
        for one in scores
        if one.kind in tails
    }


def _tails(scores: tuple[KindScore, ...]) -> dict[Kind, float]:
    """Return the level that one step in 200 passes, kinds that count steps apart (their unit is a step)."""
    tails: dict[Kind, float] = {}
    for one in scores:
        if one.kind in (Kind.LINK_GAP, Kind.SENSOR_STUCK, Kind.SENSOR_SWAPPED):
            continue
        tails[one.kind] = max(float(np.quantile(one.score, 1.0 - TAIL)), 1.0)
    return tails


def _learn_load(frame: FleetFrame) -> LoadModel:
    values, phase = frame.fields["load_w"], frame.phase()
    fit = fit_calendar(values, phase)
    residual = (values - fit.expected(phase)) / fit.scale[:, None]
    shape = np.ones(phase.steps_per_day)
    for slot in range(phase.steps_per_day):
        at = residual[:, phase.slot == slot]
        if np.isfinite(at).any():
            shape[slot] = max(float(robust_scale(at.reshape(1, -1))[0]), 0.2)
    smooth = np.convolve(np.concatenate([shape[-4:], shape, shape[:4]]), np.full(9, 1 / 9), mode="valid")
    z = residual / smooth[phase.slot]
    z = z - peer_common(z, frame.peers)
    return LoadModel(fit=fit, shape=smooth, calibration=calibrate(z))


def _load(frame: FleetFrame, model: LoadModel) -> KindScore:
    values, phase = frame.fields["load_w"], frame.phase()
    expected = model.fit.expected(phase)
    width = model.fit.scale[:, None] * model.shape[phase.slot][None]
    common = peer_common((values - expected) / width, frame.peers)
    z = (values - expected) / width - common
    return KindScore(
        kind=Kind.LOAD,
        field="load_w",
        expected=expected + common * width,
        observed=values,
        score=np.abs(signed_score(z, model.calibration)),
    )


def _relation(frame: FleetFrame, relation: Relation) -> list[KindScore]:
    """Return the score of a relation; the power balance gives two, told apart by what the excess follows."""
    kind = relation.kind
    target, drivers = target_of(frame, kind, relation.rated_w), drivers_of(frame, kind)
    expected = relation.fit.expected(drivers)
    residual = target - expected
    signed = signed_score(residual / relation.fit.scale[:, None], relation.calibration)
    score = np.abs(signed) if kind.sign == 0.0 else np.maximum(kind.sign * signed, 0.0)
    unit = unit_of(frame, kind, relation.rated_w)
    base = KindScore(
        kind=Kind(kind.name),
        field=kind.target,
        expected=expected * unit,
        observed=target * unit,
        score=score,
    )
    if kind.below is not None:
        return [base, replace(base, kind=Kind(kind.below), score=np.maximum(-kind.sign * signed, 0.0))]
    if kind.name != Kind.ENERGY_THEFT.value:
        return [base]
    share = proportional_share(residual, frame.fields["rectifier_w"], np.abs(signed) > RAISED)
    return [
        replace(base, score=score * (1.0 - share)),
        replace(base, kind=Kind.RECTIFIER_EFFICIENCY, score=score * share),
    ]
