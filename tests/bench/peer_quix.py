"""Quix Streams counts events: ``FORM BROKER TOPIC COUNT``. Runs in an environment of its own, never in ours."""
# mypy: ignore-errors

import json
import sys
import tempfile
import time
import uuid

from quixstreams import Application
from quixstreams.state.rocksdb import RocksDBOptions

form, broker, topic, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
times = [0.0, 0.0]
seen = 0


def note():
    global seen
    if not seen:
        times[0] = time.perf_counter()
    seen += 1
    times[1] = time.perf_counter() if seen == count else times[1]


def tally(event):
    note()


def tally_by_order(event, state):
    note()
    state.set("count", state.get("count", 0) + 1)


with tempfile.TemporaryDirectory() as folder:
    app = Application(
        broker_address=broker,
        consumer_group=f"quix-{uuid.uuid4().hex[:8]}",
        auto_offset_reset="earliest",
        state_dir=folder,
        use_changelog_topics=form == "changelog",
        rocksdb_options=RocksDBOptions(),
        loglevel="ERROR",
    )
    stream = app.dataframe(app.topic(topic, value_deserializer="json"))
    if form == "stateless":
        stream.update(tally)
    else:
        stream.update(tally_by_order, stateful=True)
    app.run(count=count, timeout=30)
print(json.dumps({"seconds": max(times[1], times[0]) - times[0], "events": seen}))
