"""The one error that a sink raises on purpose."""


class Unavailable(Exception):  # noqa: N818  (the design's word: three kinds of error, law 10)
    """A service cannot be reached or refuses work just now: pause, back off, retry. Loses nothing."""
