"""Tests of the forecasting engines."""
