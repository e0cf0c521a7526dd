"""What systems write that nobody can change: a warehouse's log, a shop's spans, a carrier's interchanges.

A *writer* is told what its system did and writes that as such a system would; a collector reads it (``voices``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pipeline.simulate.deeds import Deed
from schemas.times import DAY, format_time, to_datetime


class Writer(Protocol):
    """``write``: a deed as the system's clock has it, which is ``skew`` µs ahead. ``done``: what was written can be read."""

    def write(self, deed: Deed, skew: int) -> None: ...

    def done(self) -> None: ...

    def close(self) -> None: ...


class LogFile:
    """``wms.log`` in a folder, a line a step; rotated by renaming it at midnight, and the day before yesterday's removed."""

    def __init__(self, folder: Path):
        self._path = folder / "wms.log"
        self._day = 0
        self._stream = self._path.open("a", encoding="utf-8")

    def write(self, deed: Deed, skew: int) -> None:
        at = deed.time + skew
        if at // DAY != self._day and self._day:
            self._rotate()
        self._day = at // DAY
        keys = "".join(f" {name}={deed.keys[name]}" for name in ("order", "batch", "parcel") if name in deed.keys)
        said = "".join(
            f" {name}={deed.attributes[name]}"
            for name in ("warehouse", "parcels", "weight_kg")
            if name in deed.attributes
        )
        self._stream.write(f"{format_time(at)} INFO  wms {deed.step}{keys} |{said} ref={deed.id}\n")

    def _rotate(self) -> None:
        self._stream.close()
        self._path.replace(self._path.with_name("wms.log.1"))
        self._stream = self._path.open("a", encoding="utf-8")

    def done(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


class Spans:
    """Requests as an OpenTelemetry SDK exports them. ``requests``: those that were not taken yet."""

    def __init__(self, service: str):
        self.requests: list[bytes] = []
        self._service = service
        self._spans: list[Span] = []

    def write(self, deed: Deed, skew: int) -> None:
        digest = hashlib.sha256(deed.id.encode()).digest()
        at = (deed.time + skew) * 1000
        told: dict[str, Any] = {"shop.outcome": deed.phase, "shop.trace": deed.keys.get("trace", "")}
        told |= {f"{kind}.id": deed.keys[kind] for kind in ("order", "cart", "customer") if kind in deed.keys}
        told |= deed.attributes
        self._spans.append(
            Span(
                trace_id=digest[:16],
                span_id=digest[16:24],
                name=deed.step,
                kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=at - 40_000_000,
                end_time_unix_nano=at,
                attributes=[KeyValue(key=key, value=_any(value)) for key, value in told.items() if value != ""],
                status=Status(
                    code=Status.STATUS_CODE_ERROR if deed.error else Status.STATUS_CODE_UNSET, message=deed.error or ""
                ),
            )
        )

    def done(self) -> None:
        if not self._spans:
            return
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.append(KeyValue(key="service.name", value=_any(self._service)))
        resource.scope_spans.add().spans.extend(self._spans)
        self.requests.append(bytes(request.SerializeToString()))  # type: ignore[no-untyped-call]
        self._spans.clear()

    def close(self) -> None:
        self.requests.clear()


def _any(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=str(value))


class Interchanges:
    """X12 214 (shipment status), appended to a file a day: one interchange each time, one set for each parcel and status."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._sets: list[tuple[int, Deed]] = []
        self._number = 0

    def write(self, deed: Deed, skew: int) -> None:
        self._sets.append((deed.time + skew, deed))

    def done(self) -> None:
        if not self._sets:
            return
        self._number += 1
        at = to_datetime(self._sets[-1][0])
        control = f"{self._number:09d}"
        segments = [
            f"ISA*00*          *00*          *02*CARRIER        *ZZ*SHOP           *{at:%y%m%d}*{at:%H%M}*U*00401*{control}*0*P*>",
            f"GS*QM*CARRIER*SHOP*{at:%Y%m%d}*{at:%H%M}*{self._number}*X*004010",
        ]
        for count, (time, deed) in enumerate(self._sets, 1):
            segments += self._set(count, time, deed)
        segments += [f"GE*{len(self._sets)}*{self._number}", f"IEA*1*{control}"]
        with (self._folder / f"status-{at:%Y%m%d}.edi").open("a", encoding="ascii") as stream:
            stream.write("~\n".join(segments) + "~\n")
        self._sets.clear()

    def _set(self, count: int, time: int, deed: Deed) -> list[str]:
        at, code = to_datetime(time), {"shipped": "AF", "delivered": "D1"}[deed.step]
        body = [
            f"ST*214*{count:04d}",
            f"B10*{deed.keys['order']}*{deed.keys['parcel']}*{_scac(str(deed.attributes['carrier']))}",
            "LX*1",
            f"AT7*{code}*NS***{at:%Y%m%d}*{at:%H%M%S}*UT",
            f"L11*{deed.id}*2I",
        ]
        return [*body, f"SE*{len(body) + 1}*{count:04d}"]

    def close(self) -> None:
        self._sets.clear()


SCAC = {
    "DHL": "DHLC", "Hermes": "HRMS", "Post AT": "POAT", "Chronopost": "CHRP", "DPD": "DPDX", "Die Post": "DPCH",
    "Royal Mail": "RMGB", "UPS": "UPSN", "FedEx": "FDEG",
}  # fmt: skip
"""The four letters by which a carrier is known in X12."""


def _scac(carrier: str) -> str:
    return SCAC[carrier]
