"""Three kinds of error (law 10): ``Invalid`` (quarantine, go on), ``Unavailable`` (pause, back off, retry), else a bug (stop)."""

from schemas.errors import Invalid
from tracer.errors import Unavailable

__all__ = ["Invalid", "Unavailable"]
