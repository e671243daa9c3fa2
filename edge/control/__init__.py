"""The control process: the only holder of the signing key."""
