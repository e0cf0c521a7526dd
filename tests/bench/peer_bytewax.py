"""Bytewax counts events: ``FORM BROKER TOPIC COUNT``. Runs in an environment of its own, never in ours."""
# mypy: ignore-errors

import json
import sys
import time

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

form, broker, topic, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
times, worked = [0.0, 0.0], [0.0, 0.0]
seen = 0


def read(message):
    global seen
    if not seen:
        times[0], worked[0] = time.perf_counter(), time.process_time()
    seen += 1
    return json.loads(message.value)


class Nowhere(StatelessSinkPartition):
    def write_batch(self, items):
        pass


class Sink(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return Nowhere()


flow = Dataflow("count")
source = KafkaSource([broker], [topic], tail=False, batch_size=1_000)
events = op.map("read", op.input("in", flow, source), read)
if form == "stateful":
    keyed = op.key_on("key", events, lambda event: event["keys"]["order"])
    counted = op.stateful_map("count", keyed, lambda had, _: ((had or 0) + 1,) * 2)
    events = counted
op.output("out", events, Sink())
run_main(flow)
times[1], worked[1] = time.perf_counter(), time.process_time()
print(json.dumps({"seconds": times[1] - times[0], "cpu": worked[1] - worked[0], "events": seen}))
