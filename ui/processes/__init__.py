"""The body of each process: settings in, wired services out, run until told to stop."""
