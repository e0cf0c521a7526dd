"""The pure core: no I/O, no wall time, no randomness. Time is an argument (law 2).

``state`` is what is known of a transaction; ``path`` derives its hops; ``control`` folds what sources and workers say into
``hearing``; ``judge`` says what has become of it.
"""
