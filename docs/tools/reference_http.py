"""The part of the reference that is read off the server: its addresses and what they answer."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from docs.tools.reference_words import escape, table
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.commands.serve.app import ServedModel, create_app
from roi_cls.commands.serve.batcher import Judge
from roi_cls.commands.serve.explaining import Explain
from roi_cls.commands.serve.options import ServerOptions


def http_addresses() -> Iterator[str]:
    """Yield the section's lines."""
    yield "## HTTP\n"
    yield (
        "Of `roi-cls serve` (extra `serve`); the server itself gives all of it at `/openapi.json`, "
        "and a page for people at `/`. A prediction has the fields [above](#a-prediction).\n"
    )
    paths: dict[str, dict[str, Any]] = _without_a_model().openapi()["paths"]
    rows = [
        (f"`{method.upper()} {path}`", _parameters(facts), _meaning(facts), _answers(facts))
        for path, methods in paths.items()
        for method, facts in methods.items()
    ]
    yield from table(("request", "query", "meaning", "status codes"), rows)


def _without_a_model() -> Any:
    """Return the application as it is before it is asked anything: all that it says of itself."""
    labels = SimpleNamespace(names=("other", "target"), target="target")
    bundle = SimpleNamespace(labels=labels, threshold=0.5, abstain=0.0)
    model = ServedModel(
        name="none",
        bundle=cast(ModelBundle, bundle),
        judges=(cast(Judge, None),),
        explain=cast(Explain, None),
        max_pixels=1,
    )
    return create_app(model, ServerOptions())


def _parameters(facts: dict[str, Any]) -> str:
    found = facts.get("parameters", ())
    return "; ".join(f"`{one['name']}`: {escape(one.get('description', ''))}" for one in found)


def _meaning(facts: dict[str, Any]) -> str:
    text = f"{facts['summary']}. {facts.get('description', '')}".strip()
    return escape(" ".join(text.split()))


def _answers(facts: dict[str, Any]) -> str:
    texts = {code: answer["description"] for code, answer in facts["responses"].items()}
    texts = {code: _PLAIN.get(text, text) for code, text in texts.items()}
    return "; ".join(f"{code}: {escape(text)}" for code, text in sorted(texts.items()))


_PLAIN = {
    "Successful Response": "done",
    "Validation Error": "Not of the form that is asked for",
}
"""What FastAPI calls the answers that need no description."""
