"""Forecasts of load, price and PV for a whole fleet, each gated on beating seasonal naive."""
