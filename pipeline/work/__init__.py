"""The parts of the worker's loop, one noun each."""
