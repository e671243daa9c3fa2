"""Battery health: capacity, resistance, ageing and remaining life, each with the evidence behind it.

The methods are checked on small lithium cells in the laboratory (`cellwatt backtest health`); for telecom LFP and
VRLA strings nothing is claimed until field data exist.
"""
