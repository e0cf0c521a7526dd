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
times, worked = [0.0, 0.0], [0.0, 0.0]
seen = 0


def note():
    global seen
    if not seen:
        times[0], worked[0] = time.perf_counter(), time.process_time()
    seen += 1
    if seen == count:
        times[1], worked[1] = time.perf_counter(), time.process_time()


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
print(json.dumps({"seconds": times[1] - times[0], "cpu": worked[1] - worked[0], "events": seen}))
