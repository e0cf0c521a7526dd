"""Topics that others write, as an input is declared for them; ``kafka_live`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from collectors.formats.contract import Format, Item
from collectors.formats.syslog import RECEIVED
from collectors.inputs.kafka_live import KafkaLive
from collectors.inputs.live import Context, LiveInput
from collectors.inputs.sampled import message_or_lines
from collectors.words import several
from schemas.errors import Invalid
from tracer.sinks.kafka_config import ENV, KafkaAddress, read_address

Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
WORKERS = "lastseen"
"""The workers' own group, ``pipeline.log.contract.GROUP``, which collectors may not import; a test holds the two together."""


class KafkaInput(BaseModel):
    """``url``: ``kafka://host:port,host:port/``, ``kafkas://`` for TLS, as the log's own address (`tracer.sinks.kafka_config`).
    ``secrets``: beginning of the environment's variables for this cluster (``SHOP_KAFKA_`` for ``SHOP_KAFKA_PASSWORD``).

    ``group``: the consumer group; two collectors of one group share the topics, two of different groups read them twice.
    ``from``: where a group begins that never read: ``beginning`` or ``end``. ``max_held``: bytes that are handed out and not yet
    acknowledged by our log, beyond which no more is read.

    A compressed batch that becomes more than 64 MiB, and a message of more than 16 MiB, are set aside (`kafka_bounded`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    url: str
    topics: Annotated[tuple[Topic, ...], BeforeValidator(several), Field(min_length=1, max_length=1000)]
    group: Topic
    secrets: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*_$")] = ENV
    begin: Literal["beginning", "end"] = Field(default="beginning", alias="from")
    max_held: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024

    @field_validator("group")
    @classmethod
    def _not_ours(cls, group: str) -> str:
        if group == WORKERS:
            raise ValueError(
                f"{group} is the group of Lastseen's own workers, which would no longer get theirs; choose another"
            )
        return group

    def open(self, context: Context) -> LiveInput:
        return KafkaLive(self, context)

    def sample(self, layout: Format, data: bytes, now: int) -> list[Item]:
        """A file as one message, or as one a line."""
        return message_or_lines(layout, data, {RECEIVED: str(now)})

    def address(self, env: Mapping[str, str]) -> KafkaAddress:
        """Raises ``Invalid``."""
        own = {ENV + name[len(self.secrets) :]: value for name, value in env.items() if name.startswith(self.secrets)}
        try:
            return read_address(self.url, own)
        except ValueError as error:
            raise Invalid(str(error), field="url") from None
