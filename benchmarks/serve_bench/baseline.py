"""The plain server: FastAPI, and a thread a request that runs `generate` of transformers, with its cache of keys.

    PYTHON baseline.py --layers 4 --heads 4 --width 144 --positions 256 --symbols FILE.json

A GPT-2 of random weights in this shape, over single characters, written as people write such servers. It runs in
an environment that has transformers; it imports nothing of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.generation.streamers import BaseStreamer


class Completion(BaseModel):
    model: str
    prompt: str
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    stream: bool = False
    seed: int | None = None
    stop: str | None = None
    """Taken, and not looked for: that costs nothing here."""


class Pieces(BaseStreamer):
    """Hands out the text of every token at once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.tokenizer = tokenizer
        self.waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.begun = False

    def put(self, value: torch.Tensor) -> None:
        if not self.begun:  # the first is the prompt
            self.begun = True
            return
        self.waiting.put(self.tokenizer.decode(value.reshape(-1)))

    def end(self) -> None:
        self.waiting.put(None)

    def __iter__(self) -> Iterator[str]:
        while (text := self.waiting.get()) is not None:
            yield text


def tokenizer_of(symbols: list[str]) -> PreTrainedTokenizerFast:
    """A token a character."""
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=symbols[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=symbols[0])


def network_of(shape: argparse.Namespace, vocabulary: int) -> GPT2LMHeadModel:
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=shape.positions,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config).eval()


def create_app(network: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> FastAPI:
    app = FastAPI()

    @app.get("/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/completions")
    def complete(asked: Completion) -> Any:
        given = tokenizer(asked.prompt, return_tensors="pt")
        pieces = Pieces(tokenizer)
        options = {
            "input_ids": given["input_ids"],
            "attention_mask": given["attention_mask"],
            "max_new_tokens": asked.max_tokens,
            "do_sample": True,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "top_k": 0,
            "pad_token_id": 0,
            "streamer": pieces,
        }
        threading.Thread(target=network.generate, kwargs=options).start()
        head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.model,
        }

        def event(text: str, finish: str | None) -> str:
            choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
            return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"

        def events() -> Iterator[str]:
            for text in pieces:
                yield event(text, None)
            yield event("", "length")
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("layers", "heads", "width", "positions"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--symbols", type=Path, required=True)
    given = parser.parse_args()
    symbols = json.loads(given.symbols.read_text(encoding="utf-8"))
    network = network_of(given, len(symbols))
    bound = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # or asyncio leaves delays in
    bound.bind(("127.0.0.1", 0))
    bound.listen(2048)
    told = {
        "url": f"http://127.0.0.1:{bound.getsockname()[1]}",
        "parameters": sum(weight.numel() for weight in network.parameters()),
    }
    print(json.dumps(told), flush=True)
    app = create_app(network, tokenizer_of(symbols))
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)).run(sockets=[bound])
    os._exit(0)  # threads that generate for those who left would go on


if __name__ == "__main__":
    main()
