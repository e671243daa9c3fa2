"""Every benchmark, backtest and evaluation by name. An entry imports what it runs when it runs."""

from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from ui.bench.harness import Benchmark, BenchmarkError, Progress, Raw, Request, ends_in_unit

KINDS = ("bench", "backtest", "eval")
_DEFAULT_MODEL = {"eval-agent": "policy", "eval-attacks": "stub"}


def benchmarks() -> tuple[Benchmark, ...]:
    """Return all of them, in the order in which `bench all` runs them."""
    return (
        Benchmark(
            kind="bench",
            name="dispatch",
            summary="the fleet optimiser: time, memory, gap to the proven bound, broken limits",
            simulated=True,
            run=_dispatch,
        ),
        Benchmark(
            kind="bench",
            name="safety",
            summary="the validator on a plan for the whole fleet: time, and how it grows with sites",
            simulated=True,
            run=_safety,
        ),
        Benchmark(
            kind="bench",
            name="forecast",
            summary="a fleet's forecasts with intervals: time, and cost and error beside hourly Prophet",
            simulated=True,
            run=_forecast,
        ),
        Benchmark(
            kind="bench",
            name="anomaly",
            summary="detectors on injected faults beside an isolation forest, and the time of a fleet tick",
            simulated=True,
            run=_anomaly,
        ),
        Benchmark(
            kind="bench",
            name="edge",
            summary="gateways over real MQTT and Modbus: response, confirmation, energy, mains release",
            simulated=True,
            run=_edge,
        ),
        Benchmark(
            kind="bench",
            name="edge-hour",
            summary="one gateway over an hour of domain time: CPU, memory, readings that left",
            simulated=True,
            run=_edge_hour,
            soak=True,
        ),
        Benchmark(
            kind="bench",
            name="gateway-hour",
            summary="one gateway's own process for an hour over real Modbus TCP and TLS: start, memory and CPU by Linux",
            simulated=True,
            run=_gateway_hour,
            soak=True,
        ),
        Benchmark(
            kind="bench",
            name="edge-many",
            summary="two thousand gateway cores in one process over real MQTT: memory, CPU, do they keep up",
            simulated=True,
            run=_edge_many,
            soak=True,
        ),
        Benchmark(
            kind="bench",
            name="edge-physics",
            summary="the simulated plant over a month: energy closes, a seed repeats itself, curves of the datasheets",
            simulated=True,
            run=_edge_physics,
        ),
        Benchmark(
            kind="bench",
            name="edge-cut",
            summary="a fleet's links cut for a day: what arrives afterwards, in order, at its rate, live data first",
            simulated=True,
            run=_edge_cut,
            soak=True,
        ),
        Benchmark(
            kind="bench",
            name="local",
            summary="a site's own rules off and on: import peak, sun, modules, phases, float voltage, strings",
            simulated=True,
            run=_local,
        ),
        Benchmark(
            kind="bench",
            name="reserve",
            summary="a reserve answered in real time over Modbus TCP: reaction, half, 90 %, energy of an hour",
            simulated=True,
            run=_reserve,
        ),
        Benchmark(
            kind="bench",
            name="floor",
            summary="breaches of the autonomy floor on real residuals: quantiles against a point forecast",
            simulated=True,
            run=_floor,
        ),
        Benchmark(
            kind="bench",
            name="api",
            summary="50 readers at once: the fleet's latest state, and a day of one site",
            simulated=True,
            run=_api,
        ),
        Benchmark(
            kind="bench",
            name="console",
            summary="the console in a real browser: first useful content, and changing pages",
            simulated=True,
            run=_console,
        ),
        Benchmark(
            kind="bench",
            name="knowledge",
            summary="the library: how often a question finds its page, by three methods, and the time of a search",
            simulated=True,
            run=_knowledge,
        ),
        Benchmark(
            kind="bench",
            name="ingest",
            summary="MQTT to SQL: 5,000 messages a second, loss, time to visible, CPU beside the floor",
            simulated=True,
            run=_ingest,
        ),
        Benchmark(
            kind="bench",
            name="ingest-faults",
            summary="ingest while database, broker and a worker are killed, the network is cut, clocks and payloads are wrong",
            simulated=True,
            run=_ingest_faults,
        ),
        Benchmark(
            kind="bench",
            name="query",
            summary="the query layer on 10 million readings and a year of roll-ups: time, and disk per 1,000 sites",
            simulated=True,
            run=_query,
        ),
        Benchmark(
            kind="backtest",
            name="forecast",
            summary="load forecasts on real series, each day from the days before it",
            simulated=False,
            run=_backtest_forecast,
        ),
        Benchmark(
            kind="backtest",
            name="energy",
            summary="hourly energy of base stations never seen (itu5g_bs_energy), with their history and cold",
            simulated=False,
            run=_backtest_energy,
        ),
        Benchmark(
            kind="backtest",
            name="price",
            summary="day-ahead prices of Nord Pool (epf_prices) beside the published benchmark",
            simulated=False,
            run=_backtest_price,
        ),
        Benchmark(
            kind="backtest",
            name="pv",
            summary="day-ahead PV (pv_output) from the clear sky, beside persistence; no observed irradiance",
            simulated=False,
            run=_backtest_pv,
        ),
        Benchmark(
            kind="backtest",
            name="health",
            summary="state of health of lithium cells (battery_xjtu, _nasa, _calce) from charges and discharges",
            simulated=False,
            run=_backtest_health,
        ),
        Benchmark(
            kind="backtest",
            name="frequency",
            summary="energy and drift of continental FCR on measured frequency (grid_frequency), per kW offered",
            simulated=False,
            run=_backtest_frequency,
        ),
        Benchmark(
            kind="backtest",
            name="dispatch",
            summary="one battery on day-ahead prices (epf_prices), planned on forecasts, paid at real prices",
            simulated=False,
            run=_backtest_dispatch,
        ),
        Benchmark(
            kind="backtest",
            name="microgrid",
            summary="sites with battery, mains and generator (pymgrid25), planned hourly, beside published costs",
            simulated=True,
            run=_backtest_microgrid,
        ),
        Benchmark(
            kind="backtest",
            name="citylearn",
            summary="five homes' batteries planned together (citylearn2022), scored beside the reference rule",
            simulated=False,
            run=_backtest_citylearn,
        ),
        Benchmark(
            kind="backtest",
            name="anomaly",
            summary="detectors on labelled public data: NAB by its own protocol, SKAB beside T-squared and a forest",
            simulated=False,
            run=_backtest_anomaly,
        ),
        Benchmark(
            kind="backtest",
            name="outage",
            summary="next-day failures of real base stations beside the published recipe in the same run",
            simulated=False,
            run=_backtest_outage,
        ),
        Benchmark(
            kind="bench",
            name="agent",
            summary="what a cycle and a chat turn cost beside their tools: graph, checkpoints, events, leases",
            simulated=True,
            run=_agent,
        ),
        Benchmark(
            kind="eval",
            name="agent",
            summary="the agent's choices on written cases: tool, arguments, grounding, unsafe calls",
            simulated=True,
            run=_eval_agent,
        ),
        Benchmark(
            kind="eval",
            name="agent-embedded",
            summary="the same with the embedded model, whose server runs already; minutes on two idle cores, or in parts",
            simulated=True,
            run=_eval_agent_embedded,
            soak=True,
        ),
        Benchmark(
            kind="eval",
            name="attacks",
            summary="orders planted in names, alarms, documents and chats: what the agent does, with a planner that obeys",
            simulated=True,
            run=_eval_attacks,
            soak=True,
        ),
        Benchmark(
            kind="eval",
            name="attacks-embedded",
            summary="the same with the embedded model, whose server runs already; minutes on two idle cores, or in parts",
            simulated=True,
            run=_eval_attacks_embedded,
            soak=True,
        ),
        Benchmark(
            kind="backtest",
            name="cluster",
            summary="profile clusters of Milan's cells: are one fortnight's groups found again in another",
            simulated=False,
            run=_backtest_cluster,
        ),
    )


def selected(only: str | None) -> list[Benchmark]:
    """Return what `bench all` runs: everything but the soaks, or those whose keys `only` names, joined by commas.

    Raises:
        BenchmarkError: It names something that there is not.
    """
    known = benchmarks()
    if only is None:
        return [each for each in known if not each.soak]
    names = {name.strip() for name in only.split(",") if name.strip()}
    if strange := names - {each.key for each in known}:
        raise BenchmarkError(
            f"--only: no {', '.join(sorted(strange))}; there is: {', '.join(each.key for each in known)}"
        )
    return [each for each in known if each.key in names]


def find(kind: str, name: str, known: Iterable[Benchmark] | None = None) -> Benchmark:
    """Return one by name.

    Raises:
        BenchmarkError: There is none; the message names those there are.
    """
    all_of_kind = [each for each in known or benchmarks() if each.kind == kind]
    for each in all_of_kind:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in all_of_kind) or "none yet"
    raise BenchmarkError(f"no {kind} {name!r}; there is: {names}")


def find_for_model(kind: str, name: str, model: str | None, *, strict: bool) -> Benchmark:
    """Return the entry under which a planner's figures stand: its own where it has one, else that of the name.

    Raises:
        BenchmarkError: There is none; or, if `strict`, it is that of another planner.
    """
    plain = find(kind, name)
    if model is None or model == _DEFAULT_MODEL.get(plain.key) or name.endswith(f"-{model}"):
        return plain
    own = next((each for each in benchmarks() if (each.kind, each.name) == (kind, f"{name}-{model}")), None)
    if own is None and strict:
        raise BenchmarkError(
            f"{plain.key} holds another planner's figures, and {model} has no entry of its own"
        )
    return own or plain


def reported(raw: Raw, *keys: str) -> Raw:
    """Return the result with these goals reported and no longer gating.

    Absolute times depend on what else the machine does, and some goals hold at full size only.
    """
    goals = {
        key: {**goal, "gating": goal["gating"] and key not in keys} for key, goal in raw["goals"].items()
    }
    return {**raw, "goals": goals}


def named(raw: Raw, prefix: str, units: Mapping[str, str] | None = None) -> Raw:
    """Return a result whose keys carry the benchmark's name, and a unit where they lacked one.

    Args:
        raw: Its figures may hold texts, which are left out, lists of texts, which are told beside the figures,
            truths, which count 1 or 0, and whole numbers, which count what their key says.
        prefix: Put before every key.
        units: Key to what is put after it.
    """
    goals, names = raw["goals"], dict[str, str]()
    for key, value in raw["figures"].items():
        name = f"{prefix}_{key}_{units[key]}" if units and key in units else f"{prefix}_{key}"
        names[key] = f"{name}_count" if isinstance(value, int) and not ends_in_unit(name) else name
    # None says that nothing could be measured. Under a goal that is a fault, which the harness will name.
    figures: dict[str, Any] = {
        names[key]: float(value) if isinstance(value, bool) else value
        for key, value in raw["figures"].items()
        if not isinstance(value, str | list) and (value is not None or key in goals)
    }
    said = [
        f"{key}: {', '.join(value)}"
        for key, value in raw["figures"].items()
        if isinstance(value, list) and value
    ]
    numbers = {names.get(key, key): {**goal, "value": float(goal["value"])} for key, goal in goals.items()}
    return {"figures": figures, "goals": numbers, "used": [*raw.get("used", ()), *said]}


def telling(run: Callable[..., Any], progress: Progress) -> dict[str, Any]:
    """Return the argument that lets a run say how far it is, for a run that can."""
    return {"progress": progress} if "progress" in signature(run).parameters else {}


def _dispatch(request: Request, progress: Progress) -> Raw:
    from ui.bench.dispatch import run

    tell = telling(run, progress)
    if request.small:
        raw = run(request.seed, request.sites or 400, feeders=4, full=False, **tell)
        # The gap and the cost of a site shrink as the fleet grows: what 10,000 sites reach, 400 need not.
        cost = "dispatch_cpu_over_one_lp_per_device_ratio"
        return reported(raw, "dispatch_wall_s", "dispatch_gap_frac", cost)
    return reported(
        run(request.seed, request.sites or 10_000, **tell), "dispatch_wall_s", "dispatch_16_classes_wall_s"
    )


def _safety(request: Request, progress: Progress) -> Raw:
    from ui.bench.safety import run

    tell = telling(run, progress)
    sites = request.sites or (400 if request.small else 10_000)
    raw = named(
        run(request.seed, sites, 4 if request.small else 20, **tell),
        "safety",
        {"cpu_per_site_growth_x4": "ratio"},
    )
    # Below a few thousand sites the growth is noise of the clock.
    growth = ("safety_cpu_per_site_growth_x4_ratio",) if request.small else ()
    return reported(raw, "safety_validate_wall_s", *growth)


def _forecast(request: Request, progress: Progress) -> Raw:
    from ui.bench.forecast import run

    tell = telling(run, progress)
    if request.small:
        raw = run(request.seed, sites=request.sites or 400, prophet_sites=4, days=(35,), **tell)
        # Four sites on one day say little about which of two models errs less, or costs less.
        ratios = ("forecast_ridge_over_prophet_mae_ratio", "forecast_prophet_over_ridge_cpu_ratio")
        return reported(raw, "forecast_fleet_wall_s", *ratios)
    return reported(run(request.seed, sites=request.sites or 10_000, **tell), "forecast_fleet_wall_s")


def _anomaly(request: Request, progress: Progress) -> Raw:
    from ui.bench.anomaly import run

    tell = telling(run, progress)
    if request.small:
        raw = run(request.seed, sites=request.sites or 48, scenes=1, **tell)
        # Two faults of a kind say little about the kind.
        return reported(
            raw, "anomaly_fleet_tick_10000_sites_ms", "anomaly_weakest_kind_average_precision_frac"
        )
    return reported(run(request.seed, sites=request.sites or 96, **tell), "anomaly_fleet_tick_10000_sites_ms")


def _edge(request: Request, progress: Progress) -> Raw:
    from ui.bench.edge import run

    tell = telling(run, progress)
    if request.small:
        raw = run(request.seed, request.sites or 12, quarters=1, window_s=15.0, siege=500, **tell)
    else:
        raw = run(request.seed, request.sites or 500, **tell)
    return reported(named(raw, "edge"), "edge_response_mean_s", "edge_response_p99_s")


def _edge_hour(request: Request, progress: Progress) -> Raw:
    from ui.bench.edge_hour import run

    del progress
    return named(run(request.seed, 0.05 if request.small else 1.0), "edge_hour")


def _gateway_hour(request: Request, progress: Progress) -> Raw:
    from ui.bench.gateway_hour import run

    raw = named(run(request.seed, 0.5 if request.small else 60.0, progress=progress), "gateway")
    # In half a minute it still fills: what it grows by is no leak.
    return reported(raw, "gateway_rss_growth_mb") if request.small else raw


def _edge_physics(request: Request, progress: Progress) -> Raw:
    from ui.bench.edge_physics import run

    del progress
    raw = run(request.seed, request.sites or 24, 2.0 if request.small else 30.0)
    return named(raw, "edge_physics")


def _edge_cut(request: Request, progress: Progress) -> Raw:
    from ui.bench.edge_cut import run

    del progress
    raw = run(request.seed, request.sites or (4 if request.small else 20), 0.5 if request.small else 24.0)
    return named(raw, "edge_cut")


def _edge_many(request: Request, progress: Progress) -> Raw:
    from ui.bench.edge_many import run

    del progress
    sites = request.sites or (100 if request.small else 2000)
    return named(run(request.seed, sites, 15.0 if request.small else 40.0), "edge_many")


def _local(request: Request, progress: Progress) -> Raw:
    from ui.bench.local import run

    return run(request.seed, 0.1 if request.small else 1.0, progress)


def _reserve(request: Request, progress: Progress) -> Raw:
    from ui.bench.reserve import run

    return run(request.seed, 1 if request.small else 3, progress)


def _backtest_frequency(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_frequency import run

    del progress
    return run(request.data("grid_frequency"), request.seed, request.small)


def _floor(request: Request, progress: Progress) -> Raw:
    from ui.bench.floor import run

    tell = telling(run, progress)
    if request.small:
        return run(request.seed, sites=request.sites or 24, days=(35, 40, 46), hours=(16,), **tell)
    return run(request.seed, sites=request.sites or 117, **tell)


def _knowledge(request: Request, progress: Progress) -> Raw:
    from ui.bench.knowledge import run

    return run(request.seed, 0 if request.small else 100_000, **telling(run, progress))


def _api(request: Request, progress: Progress) -> Raw:
    from ui.bench.api import run

    tell = telling(run, progress)
    if request.small:
        raw = run(request.seed, request.sites or 500, readers=20, seconds=3.0, dense_sites=10, **tell)
    else:
        raw = run(request.seed, request.sites or 5_000, **tell)
    return reported(raw, "api_latest_state_p95_ms", "api_site_window_p95_ms")


def _console(request: Request, progress: Progress) -> Raw:
    from ui.bench.console import run

    tell = telling(run, progress)
    if request.small:
        raw = run(request.seed, request.sites or 500, loads=2, rounds=1, **tell)
    else:
        raw = run(request.seed, request.sites or 5_000, **tell)
    return reported(raw, "console_first_content_median_s", "console_slowest_page_median_s")


def _ingest(request: Request, progress: Progress) -> Raw:
    from ui.bench.ingest import run

    if request.small:
        raw = run(rate=500.0, seconds=5.0, sites=request.sites or 10, progress=progress)
        # At a tenth of the load fixed costs of a process weigh more than messages, in the floor as in ingest.
        return reported(
            raw, "ingest_cpu_over_floor_ratio", "ingest_visible_p99_s", "ingest_sent_readings_per_s"
        )
    return run(sites=request.sites or 50, progress=progress)


def _query(request: Request, progress: Progress) -> Raw:
    from ui.bench.query import run

    tell = telling(run, progress)
    if request.small:
        sites = request.sites or 100
        raw = run(
            request.seed, sites, raw_rows=1_500 * sites, quarter_days=31, hour_days=60, questions=20, **tell
        )
    else:
        raw = run(request.seed, request.sites or 5_000, **tell)
    return reported(raw, *(key for key in raw["goals"] if key.endswith("_p95_ms")))


def _ingest_faults(request: Request, progress: Progress) -> Raw:
    from ui.bench.ingest_faults import SMALL, run

    raw = run(request.seed, script=SMALL if request.small else None, progress=progress)
    # A clock behind is told from a message that was long on its way after half a minute: the small form is over by then.
    return reported(raw, "faults_clock_behind_noticed_count") if request.small else raw


def _backtest_forecast(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_forecast import PARTS, run

    tell = telling(run, progress)
    return run(request.data(*PARTS), request.seed, request.small, **tell)


def _backtest_energy(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_energy import SET, run

    return run(request.data(SET), request.seed, request.small, progress=progress)


def _backtest_cluster(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_cluster import run

    subsets = {"subsets": 0} if request.small else {}
    return run(request.data("milan_cdr_hourly"), request.seed, **subsets, progress=progress)


def _backtest_anomaly(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_anomaly import PARTS, run

    return run(request.data(*PARTS), request.seed, request.small, **telling(run, progress))


def _backtest_outage(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_outage import run

    return run(request.data("t2_bs_availability"), request.seed, request.small, **telling(run, progress))


def _backtest_price(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_price import run

    tell = telling(run, progress)
    return reported(
        run(request.data("epf_prices"), request.seed, request.small, **tell), "price_np_daily_refit_wall_s"
    )


def _backtest_pv(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_pv import run

    tell = telling(run, progress)
    return run(request.data("pv_output"), request.seed, request.small, **tell)


def _backtest_health(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_health import PARTS, run

    tell = telling(run, progress)
    return run(request.data(*PARTS), request.seed, request.small, **tell)


def _backtest_dispatch(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_dispatch import run

    tell = telling(run, progress)
    folder = request.data("epf_prices")
    raw = run(
        folder.parent if folder.name == "epf_prices" else folder, days=60 if request.small else None, **tell
    )
    if not request.small:
        return raw
    # Two months say little about two years; their profit is no part of the two years' goal.
    goals = {key: goal for key, goal in raw["goals"].items() if key != "epf_np_perfect_profit_currency"}
    return reported({**raw, "goals": goals}, "epf_np_blend_of_perfect_frac")


def _backtest_microgrid(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_microgrid import run

    tell = telling(run, progress)
    return run(request.data("pymgrid25"), small=request.small, **tell)


def _agent(request: Request, progress: Progress) -> Raw:
    from ui.bench.agent import run

    return run(5 if request.small else 60, **telling(run, progress))


def _eval_agent(request: Request, progress: Progress, model: str = "policy") -> Raw:
    from ui.bench.eval_agent import merged, run
    from ui.bench.eval_cases import COMMITTED

    options = request.options or {}
    model, cases = options.get("model", model), Path(options.get("cases", COMMITTED))
    if "merge" in options:
        return merged(model, _paths(options["merge"]), cases)
    screens = 0 if request.small else 3
    return run(model, cases, options.get("part", "1/1"), screens=screens, **telling(run, progress))


def _eval_agent_embedded(request: Request, progress: Progress) -> Raw:
    return _eval_agent(request, progress, "embedded")


def _eval_attacks(request: Request, progress: Progress, model: str = "stub") -> Raw:
    from ui.bench.eval_attacks import merged, run

    options = request.options or {}
    model = options.get("model", model)
    if "merge" in options:
        return merged(model, _paths(options["merge"]))
    return run(model, options.get("part", "1/10" if request.small else "1/1"), **telling(run, progress))


def _eval_attacks_embedded(request: Request, progress: Progress) -> Raw:
    return _eval_attacks(request, progress, "embedded")


def _paths(words: str) -> list[Path]:
    return [Path(word.strip()) for word in words.split(",") if word.strip()]


def _backtest_citylearn(request: Request, progress: Progress) -> Raw:
    from ui.bench.backtest_citylearn import run

    tell = telling(run, progress)
    return run(request.data("citylearn2022"), small=request.small, **tell)
