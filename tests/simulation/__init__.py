"""Lastseen in one thread, driven by one seed: workers, log, store, sources and clock, with everything that goes wrong."""
