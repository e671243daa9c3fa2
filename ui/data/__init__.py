"""Files in and out: readings, registry, documents."""
