"""Each format of a collector: how it is written, how a collector is declared for it, and how others parse the same bytes."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple
from xml.etree import ElementTree

import re2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

START = 1_800_000_000
"""Seconds: 2027-01-15T08:00:00Z."""
SETS = 20
"""Of an interchange; ``SPANS``: of a request."""
SPANS = 10


class Sort(NamedTuple):
    """A format.

    Attributes:
        declared: what stands behind ``format:``.
        write: so many records, in the pieces of a file, or, with ``topic``, in messages.
        parse: reads them with a bare library, to the field that is an order; how many there were.
        mapping: what stands behind the format in the collector's file.
        events: that a record makes.
        beside: what it is compared with.
    """

    declared: str
    write: Callable[[int], Iterable[bytes]]
    parse: Callable[[BinaryIO], int]
    beside: str
    mapping: str = ""
    events: int = 1
    topic: bool = False


def _mapped(time: str, order: str, times: str = "") -> str:
    more = f"times: {times}\n" if times else ""
    return f"{more}events:\n  - {{system: shop, step: placed, time: {time}, keys: {{order: {order}}}}}\n"


def _each(line: Callable[[int], str]) -> Callable[[int], Iterator[bytes]]:
    return lambda count: (line(number).encode() for number in range(1, count + 1))


def _lines(order: Callable[[bytes], Any]) -> Callable[[BinaryIO], int]:
    return lambda stream: sum(1 for line in stream if order(line))


# Lines -----------------------------------------------------------------------------------------------------------------

_COMMON = r'(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d+) (?P<bytes>\S+)'
_PAIR = re.compile(rb"(\w+)=(\"[^\"]*\"|\S+)")
_SYSLOG = re.compile(rb"<(\d+)>1 (\S+) (\S+) (\S+) (\S+) (\S+) \[o@1 order=\"([^\"]*)\"\] (.*)")
_SECONDS = "2027-01-15T08:00:00Z"


def _json_line(n: int) -> str:
    return json.dumps({"at": START + n, "order": f"o{n}", "customer": "VINET", "total": 12.5, "note": "x" * 40}) + "\n"


def _event_line(n: int) -> str:
    event = {
        "id": f"e{n}", "system": "shop", "step": "placed", "phase": "completed", "time": _SECONDS, "keys": {"order": f"o{n}"},
        "attributes": {"customer": "VINET"},
    }  # fmt: skip
    return json.dumps(event) + "\n"


def _cloud_line(n: int) -> str:
    event = {
        "specversion": "1.0", "id": f"e{n}", "source": "shop", "type": "placed", "time": _SECONDS,
        "datacontenttype": "application/json", "data": {"order": f"o{n}", "customer": "VINET", "total": 12.5},
    }  # fmt: skip
    return json.dumps(event) + "\n"


def _access_line(n: int) -> str:
    return f'10.0.0.{n % 250} - o{n} [15/Jan/2027:08:00:00 +0000] "GET /orders/{n} HTTP/1.1" 200 512\n'


def _syslog_line(n: int) -> str:
    return f'<134>1 {_SECONDS} web-1 shop 311 placed [o@1 order="o{n}"] order was placed for VINET\n'


def _csv_line(n: int) -> str:
    return ("at,order,customer,total\n" if n == 1 else "") + f"{START + n},o{n},VINET,12.5\n"


def _csv_rows(stream: BinaryIO) -> int:
    return sum(1 for row in csv.DictReader(io.TextIOWrapper(stream, "utf-8")) if row["order"])


def _by_re2() -> Callable[[bytes], Any]:
    search = re2.compile(_COMMON.encode()).search  # type: ignore[no-untyped-call]
    return lambda line: (found := search(line)) is not None and found[2]


def _syslog_order(line: bytes) -> bytes | None:
    found = _SYSLOG.match(line)
    return found[7] if found else None


# Documents and records of fixed length ---------------------------------------------------------------------------------

_COPYBOOK = """\
       01  BILLING-RECORD.
           05  ORDER-NUMBER      PIC 9(8).
           05  BILLED-AT         PIC 9(14).
           05  CUSTOMER-NUMBER   PIC X(8).
           05  AMOUNT            PIC S9(9)V99 COMP-3.
           05  CURRENCY          PIC X(3).
"""
_FIXED = struct.Struct("8s14s8s6s3s")
_AMOUNT = bytes.fromhex("00000001250C")


def _fixed_records(count: int) -> Iterator[bytes]:
    for n in range(1, count + 1):
        yield f"{n:08}20270115080000VINET   ".encode("cp037") + _AMOUNT + "EUR".encode("cp037")


def _by_struct(stream: BinaryIO) -> int:
    count = 0
    while record := stream.read(_FIXED.size):
        order, at, customer, amount, currency = _FIXED.unpack(record)
        texts = [part.decode("cp037").strip() for part in (order, at, customer, currency)]
        digits = amount.hex()
        count += bool(int(texts[0]) and int(digits[:-1]) and digits[-1] == "c")
    return count


def _xml_document(count: int) -> Iterator[bytes]:
    yield b"<?xml version='1.0'?>\n<orders>\n"
    for n in range(1, count + 1):
        yield (
            f'<order id="o{n}"><at>{START + n}</at><customer code="VINET">Vins</customer><total>12.5</total></order>\n'
        ).encode()
    yield b"</orders>\n"


def _by_iterparse(stream: BinaryIO) -> int:
    count = 0
    for _, element in ElementTree.iterparse(stream):
        if element.tag == "order":
            count += bool(element.attrib["id"] and element.findtext("at"))
            element.clear()
    return count


# EDI -------------------------------------------------------------------------------------------------------------------


def _groups(count: int) -> Iterator[tuple[int, range]]:
    for number, begin in enumerate(range(1, count + 1, SETS), 1):
        yield number, range(begin, min(begin + SETS, count + 1))


def _x12_file(count: int) -> Iterator[bytes]:
    for number, orders in _groups(count):
        sets = "".join(
            f"ST*850*{at:04}~BEG*00*SA*o{n}**20270115~REF*CO*C-{n}~N1*BY*Example Shop*92*1500~PO1*1*10*EA*9.99**VN*AB12~"
            f"CTT*1~AMT*TT*99.9~SE*8*{at:04}~\n"
            for at, n in enumerate(orders, 1)
        )
        yield (
            f"ISA*00*          *00*          *ZZ*EXAMPLESHOP    *01*123456789      *270115*0800*U*00401*{number:09}*0*P*>~"
            f"GS*PO*EXAMPLESHOP*123456789*20270115*0800*{number}*X*004010~\n{sets}GE*{len(orders)}*{number}~IEA*1*{number:09}~\n"
        ).encode()


def _edifact_file(count: int) -> Iterator[bytes]:
    for number, orders in _groups(count):
        messages = "".join(
            f"UNH+{at}+ORDERS:D:96A:UN:EAN008'BGM+220+o{n}+9'DTM+137:20270115:102'NAD+BY+5412345000013::9'CUX+2:EUR:9'"
            f"LIN+1++4000862141404:SRV'QTY+21:48'UNS+S'CNT+2:1'UNT+10+{at}'\n"
            for at, n in enumerate(orders, 1)
        )
        head = f"UNB+UNOC:3+BUYER:14+SELLER:14+270115:0800+{number}++ORDERS'\n"
        yield (head + messages + f"UNZ+{len(orders)}+{number}'\n").encode()


def _by_split(segment: str, element: str, component: str, order: str) -> Callable[[BinaryIO], int]:
    def parse(stream: BinaryIO) -> int:
        count = 0
        for one in stream.read().decode().split(segment):
            elements = [part.split(component) for part in one.strip().split(element)]
            count += elements[0][0] == order
        return count

    return parse


# OpenTelemetry ---------------------------------------------------------------------------------------------------------


def _requests(count: int) -> Iterator[ExportTraceServiceRequest]:
    for begin in range(1, count + 1, SPANS):
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        name = resource.resource.attributes.add()
        name.key, name.value.string_value = "service.name", "shop"
        spans = resource.scope_spans.add().spans
        for n in range(begin, min(begin + SPANS, count + 1)):
            span = spans.add(
                trace_id=n.to_bytes(16, "big"), span_id=n.to_bytes(8, "big"), name="place order", kind=2,
                start_time_unix_nano=START * 10**9 + n, end_time_unix_nano=START * 10**9 + n + 5_000_000,
            )  # fmt: skip
            for key, value in (("order.id", f"o{n}"), ("http.request.method", "POST"), ("http.route", "/orders")):
                pair = span.attributes.add()
                pair.key, pair.value.string_value = key, value
        yield request


def _proto_requests(count: int) -> Iterator[bytes]:
    return (one.SerializeToString() for one in _requests(count))  # type: ignore[no-untyped-call]


def _json_requests(count: int) -> Iterator[bytes]:
    for request in _requests(count):
        spans = [
            {
                "traceId": span.trace_id.hex(), "spanId": span.span_id.hex(), "name": span.name, "kind": span.kind,
                "startTimeUnixNano": str(span.start_time_unix_nano), "endTimeUnixNano": str(span.end_time_unix_nano),
                "attributes": [{"key": one.key, "value": {"stringValue": one.value.string_value}} for one in span.attributes],
            }
            for span in request.resource_spans[0].scope_spans[0].spans
        ]  # fmt: skip
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
        yield json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode() + b"\n"


def _by_protobuf(stream: BinaryIO) -> int:
    """Messages behind each other, each behind its length."""
    count = 0
    while size := stream.read(4):
        request = ExportTraceServiceRequest()
        request.ParseFromString(stream.read(int.from_bytes(size, "big")))  # type: ignore[no-untyped-call]
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                count += sum(any(one.key == "order.id" for one in span.attributes) for span in scope.spans)
    return count


def _by_json(stream: BinaryIO) -> int:
    count = 0
    for line in stream:
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                count += sum(any(one["key"] == "order.id" for one in span["attributes"]) for span in scope["spans"])
    return count


_OTLP = "{otlp: {keys: {order.id: order}, steps: {place order: placed}}}"
SORTS = {
    "json": Sort(
        "json",
        _each(_json_line),
        _lines(lambda line: json.loads(line)["order"]),
        "json",
        _mapped("at", "order", "epoch_s"),
    ),
    "events": Sort("events", _each(_event_line), _lines(lambda line: json.loads(line)["keys"]["order"]), "json"),
    "cloudevents": Sort(
        "{cloudevents: {keys: {data.order: order}}}", _each(_cloud_line), _lines(lambda line: json.loads(line)["data"]["order"]),
        "json",
    ),
    "logfmt": Sort(
        "logfmt", _each(lambda n: f'at={START + n} order=o{n} customer=VINET total=12.5 note="of this order"\n'),
        _lines(lambda line: dict(_PAIR.findall(line))[b"order"]), "re", _mapped("at", "order", "epoch_s"),
    ),
    "regex": Sort(
        "{regex: {pattern: '" + _COMMON + "'}}", _each(_access_line), _lines(_by_re2()), "re2",
        _mapped("time", "user", "'%d/%b/%Y:%H:%M:%S %z'"),
    ),
    "access": Sort("access", _each(_access_line), _lines(_by_re2()), "re2", _mapped("time", "user")),
    "syslog": Sort("syslog", _each(_syslog_line), _lines(_syslog_order), "re", _mapped("time", "sd.o@1.order")),
    "csv": Sort("csv", _each(_csv_line), _csv_rows, "csv", _mapped("at", "order", "epoch_s")),
    "xml": Sort(
        "{xml: {record: order}}", _xml_document, _by_iterparse, "ElementTree.iterparse", _mapped("at", "'@id'", "epoch_s")
    ),
    "copybook, fixed, EBCDIC": Sort(
        "{copybook: {code_page: cp037, text: " + json.dumps(_COPYBOOK) + "}}", _fixed_records, _by_struct, "struct, codecs",
        _mapped("BILLED_AT", "ORDER_NUMBER", "'%Y%m%d%H%M%S'"),
    ),
    "x12": Sort("x12", _x12_file, _by_split("~", "*", ">", "BEG"), "str.split", _mapped("date", "BEG.03")),
    "edifact": Sort("edifact", _edifact_file, _by_split("'", "+", ":", "BGM"), "str.split", _mapped("date", "BGM.02")),
    "otlp, JSON": Sort(_OTLP, _json_requests, _by_json, "json", events=2),
    "otlp, protobuf": Sort(
        _OTLP, _proto_requests, _by_protobuf, "opentelemetry-proto",
        events=2, topic=True,
    ),
}  # fmt: skip
"""By name in the table: every format that a collector's file can name."""
