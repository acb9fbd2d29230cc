"""The JSON of dead letters."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hookstream.schemas.delivery import DeadLetterReason

from .bodies import Answer, ShownClientId, ShownId

MAX_RESENT = 500
DEAD_LETTER_ID = r"^(0|[1-9][0-9]{0,5})-(0|[1-9][0-9]{0,17})$"
DeadLetterId = Annotated[str, Field(pattern=DEAD_LETTER_ID, examples=["3-1204"])]


class ResendBody(BaseModel):
    """`POST /dead-letters/resend`: which, in the order in which they shall be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: Annotated[list[DeadLetterId], Field(min_length=1, max_length=MAX_RESENT)]


class DeadLetterFields(Answer):
    """A dead letter, and whether it can be sent again."""

    id: str = Field(description="`<partition>-<offset>`", examples=["3-1204"])
    reason: DeadLetterReason
    detail: str = Field(description="one line; where an operator skipped it: who, and why")
    client: ShownClientId | None
    hook_id: int | None
    delivery_id: str | None
    event: str | None
    concept_id: ShownId | None
    position: str = Field(description="where the record stood", examples=["deliveries:3:99120"])
    died_at_ms: int
    kept_at_ms: int = Field(description="when Kafka took it; its 30 days run from then")
    last_status: int | None
    resendable: bool
    unfit: str | None = Field(description="why it cannot be sent again")


class WholeDeadLetterFields(DeadLetterFields):
    """The same with the start of the last answer."""

    last_answer: str


class DeadLetterAnswer(Answer):
    """`GET /dead-letters/{id}`."""

    dead_letter: WholeDeadLetterFields


class DeadLettersAnswer(Answer):
    """`GET /dead-letters`: a page, which may be short; `next_cursor` is null on the last one."""

    dead_letters: list[DeadLetterFields]
    next_cursor: str | None


class UnfitFields(Answer):
    """A dead letter that was not sent again, and why."""

    id: str
    detail: str


class ResentAnswer(Answer):
    """202 of `POST /dead-letters/resend`: the job in `hookstream-replay`, and what goes with it."""

    job: str
    resent: list[str]
    unfit: list[UnfitFields]
