"""What is watched in a simulation: flows whose deadlines are seconds, so that a run is a few minutes long."""

from __future__ import annotations

from functools import cache

import yaml

from schemas.flow import Flows
from schemas.flow_file import parse_flow
from schemas.landscape import Landscape
from schemas.times import SECOND, parse_time

START = parse_time("2026-03-02T09:00:00Z")
LINK_AGE = 300 * SECOND
LOST_AFTER = 100 * SECOND
GONE_AFTER = 30 * SECOND
GRACE = 10 * SECOND

_LANDSCAPE = f"""
tolerate: 0
gone_after: {GONE_AFTER // SECOND}s
link_age: {LINK_AGE // SECOND}s
grace: {GRACE // SECOND}s
settling: 5s
keys:
  order: {{transaction: true}}
  cart: {{transaction: true}}
  parcel: {{case: upper}}
  account: {{leading_zeros: drop}}
"""

# Steps that carry links (registered, matched, labelled) say which keys they may carry; nobody waits for them.
_ORDER = """
flow: order
version: 1
key: order
by: [order]
keys: {payment: alias, charge: alias, account: alias, shipment: alias, parcel: {alias: shared}, batch: {alias: shared},
       trace: {alias: weak}, customer: search, cart: {once: 20s}}
value: amount
exclude: {test: "true"}
lost_after: 100s
steps:
  placed:     {system: shop, start: true}
  registered: {system: shop, after: placed, optional: true, again: 9, by: {ALL}}
  matched:    {system: payments, after: placed, optional: true, again: 9, by: {ALL}}
  labelled:   {system: warehouse, after: placed, optional: true, again: 9, by: {ALL}}
  paid:       {system: payments, after: placed, within: 30s, retry_within: 15s, reports: [received, completed, failed], by: {PAY}}
  confirmed:  {system: shop, after: paid, within: 40s}
  packed:     {system: warehouse, after: paid, within: 40s, per: parcel, count: parcels, by: {PACK}}
  manifested: {system: warehouse, after: paid, within: 60s, when: {batched: ["true"]}, by: {BATCH}}
  shipped:    {system: carrier, after: packed, per: parcel, within: 40s, by: {PACK}}
  delivered:  {system: carrier, after: shipped, per: parcel, within: 60s, by: {PACK}, end: completed}
  traced:     {system: carrier, after: placed, optional: true, again: 9, by: {TRACE}}
  rejected:   {system: payments, after: placed, end: closed, until: paid, by: {PAY}}
  cancelled:  {system: shop, after: placed, end: closed, until: packed}
  refunded:   {system: payments, after: cancelled, when: paid, within: 50s, by: {PAY}}
"""

_CHECKOUT = """
flow: checkout
version: 1
key: cart
by: [cart]
lost_after: 100s
steps:
  opened: {system: shop, start: true}
  placed: {system: shop, after: opened, within: 60s, end: completed}
"""

_SCREENING = """
flow: screening
version: 2
key: order
by: [order]
keys: {payment: alias, charge: alias, account: alias, shipment: alias, parcel: {alias: shared}, batch: {alias: shared},
       trace: {alias: weak}}
lost_after: 100s
steps:
  placed:     {system: shop, start: true}
  registered: {system: shop, after: placed, optional: true, again: 9, by: {ALL}}
  matched:    {system: payments, after: placed, optional: true, again: 9, by: {ALL}}
  labelled:   {system: warehouse, after: placed, optional: true, again: 9, by: {ALL}}
  screened:   {system: payments, after: placed, within: 50s, end: completed, by: {PAY}}
"""

_ALL = "[order, payment, charge, account, shipment, parcel, batch, trace]"
# What the steps' events carry where everybody knows the order's number, and where each system knows its own numbers only.
_KEYED = {
    "ALL": _ALL,
    "PAY": "[order, payment]",
    "PACK": "[order, parcel]",
    "BATCH": "[order, batch]",
    "TRACE": "[order, trace]",
}
_JOINED = {"ALL": _ALL, "PAY": "[payment]", "PACK": "[parcel]", "BATCH": "[batch]", "TRACE": "[trace]"}
SYSTEMS = ("shop", "payments", "warehouse", "carrier")


@cache
def definitions(joined: bool) -> tuple[Flows, Landscape]:
    """Flows and landscape. ``joined``: most systems know their own numbers only, and their steps say so."""
    flows = []
    for text in (_ORDER, _CHECKOUT, _SCREENING):
        for name, keys in (_JOINED if joined else _KEYED).items():
            text = text.replace(f"{{{name}}}", keys)
        flows.append(parse_flow(text))
    return Flows(flows), Landscape.model_validate(yaml.safe_load(_LANDSCAPE))
