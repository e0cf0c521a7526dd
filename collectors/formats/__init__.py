"""Formats: what bytes are read as. One noun a file; each is found by its name in a collector's file."""

from __future__ import annotations

from collectors.formats.contract import Decoder, Format, Item, Ready, Record

__all__ = ["FORMATS", "MAKES_EVENTS", "Decoder", "Format", "Item", "Ready", "Record"]

FORMATS = {
    "json": "collectors.formats.json:JsonFormat",
    "events": "collectors.formats.events:EventsFormat",
    "logfmt": "collectors.formats.logfmt:LogfmtFormat",
    "regex": "collectors.formats.regex:RegexFormat",
    "access": "collectors.formats.access:AccessFormat",
    "csv": "collectors.formats.csv:CsvFormat",
    "xml": "collectors.formats.xml:XmlFormat",
    "copybook": "collectors.formats.copybook:CopybookFormat",
    "x12": "collectors.formats.x12:X12Format",
    "edifact": "collectors.formats.edifact:EdifactFormat",
    "otlp": "collectors.formats.otlp:OtlpFormat",
    "cloudevents": "collectors.formats.cloudevents:CloudEventsFormat",
    "syslog": "collectors.formats.syslog:SyslogFormat",
}
"""By name in a collector's file (``format: json``, `{regex: {pattern: …}}`): module and class (a frozen pydantic model)."""

MAKES_EVENTS = frozenset(("events", "otlp", "cloudevents"))
"""Formats whose records may be events already: a collector of one needs no ``events`` of its own."""
