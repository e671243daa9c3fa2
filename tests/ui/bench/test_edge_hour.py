"""One gateway for some domain seconds: every scan becomes a reading that leaves."""

from ui.bench.edge_hour import run


def test_every_scan_of_the_span_is_sent_and_its_cost_counted() -> None:
    outcome = run(hours=0.02)
    figures = outcome["figures"]
    assert figures["domain_s"] == 72  # 0.02 h, one control step a second
    assert figures["readings_missing"] == 0
    assert figures["messages_unconfirmed"] == 0
    assert 0.0 < figures["cpu_frac"] < 1.0
    assert figures["data"] == "simulated"
