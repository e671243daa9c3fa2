"""Tests of battery health."""
