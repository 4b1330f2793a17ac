"""What one request, one key and one connection may take of the server, in numbers that `serve --set` changes."""

from __future__ import annotations

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.serving.errors import BadRequest


class Limits(Config):
    """Beyond each of these the answer is an error that says which number it was."""

    body_bytes: int = Field(1 << 20, ge=1 << 10, le=1 << 30)
    """Bytes of a request's body; 413 beyond."""
    prompt_tokens: int = Field(32_768, ge=1, le=1 << 24)
    """Tokens of a prompt; 400 beyond. So many take about a second to read for a model of the largest size."""
    output_tokens: int = Field(100_000, ge=1, le=1 << 24)
    """The most that `max_tokens` may ask for; 400 beyond. Where it does not ask, no more are made either."""
    request_seconds: float = Field(600.0, gt=0, le=86_400)
    """Seconds from when a request has been read to the end of what it asks for; what is not done by then ends with the
    error `timeout`."""
    requests_per_minute: int | None = Field(None, ge=1, le=10**9)
    """Requests a minute of each key without a number of its own, or of all callers where there are no keys;
    a minute's may come at once; 429 beyond."""
    concurrent: int | None = Field(None, ge=1, le=10**9)
    """Requests at the same time of each key without a number of its own, or of all callers where there are no
    keys; 429 beyond."""
    connections: int = Field(4096, ge=1, le=1 << 20)
    """Connections in all. Beyond, the one that has waited longest without asking is closed; where all are asking,
    a new one gets 503."""
    head_seconds: float = Field(10.0, gt=0, le=3600)
    """Seconds in which the head of a request must arrive, counted from the connection or from the answer before."""
    body_seconds: float = Field(30.0, gt=0, le=3600)
    """Seconds in which the body must arrive; 408 beyond."""
    write_seconds: float = Field(60.0, gt=0, le=3600)
    """Seconds without a byte read after which a reader of a full line counts as gone."""

    def check_prompt(self, tokens: int, param: str) -> None:
        """Raises BadRequest, about the field `param`: a prompt of so many tokens is longer than may be read."""
        if tokens > self.prompt_tokens:
            raise BadRequest(
                f"the prompt has {tokens:,} tokens; {self.prompt_tokens:,} is the most",
                param=param,
                code="context_length_exceeded",
            )

    def check_output(self, tokens: int, param: str) -> None:
        """Raises BadRequest, about the field `param`: so many tokens are more than may be made."""
        if tokens > self.output_tokens:
            raise BadRequest(
                f"`{param}` is {tokens:,}; {self.output_tokens:,} is the most",
                param=param,
                code="invalid_value",
            )


LIMITS = Limits()
