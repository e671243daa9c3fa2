"""Tests of the anomaly engines."""
