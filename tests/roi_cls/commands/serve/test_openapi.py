"""What the server says that it takes and answers, held by schemathesis against what it does."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, Config, GenerationMode
from schemathesis.transport.serialization import Binary

from tests.roi_cls.commands.serve.conftest import draw_picture

EXAMPLES = 8
READ = [("GET", path) for path in ("/health", "/model", "/metrics")]
SENT = [("POST", path) for path in ("/predict", "/look", "/explain", "/review")]
# One that schemathesis does not think of: more pictures than are taken are too large.
REFUSALS = {"negative_data_rejection": {"expected-statuses": ["400", "405", "413", "415", "422"]}}


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as found:
        found.trust_env = False  # a proxy of the machine's has no say here
        yield found


@pytest.fixture(scope="module")
def schema(served: Any) -> Any:
    """The server's own description, where what it calls a picture is one that can be read."""
    pictures = [draw_picture(face) for face in ((30, 20, 60, 60), None)]
    packed = [base64.b64encode(one).decode() for one in pictures]
    packed.append(f"data:image/png;base64,{packed[0]}")
    schemathesis.openapi.format("binary", st.sampled_from([Binary(one) for one in pictures]))
    schemathesis.openapi.format("byte", st.sampled_from(packed))
    described = served.client.get("/openapi.json").json()
    return schemathesis.openapi.from_dict(described, config=Config.from_dict({"checks": REFUSALS}))


def hold(served: Any, session: requests.Session, operation: Any, mode: GenerationMode) -> list[int]:
    """Send requests, let each answer be checked, and return the answers' statuses."""
    statuses: list[int] = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Case[Any]) -> None:
        answer = case.call_and_validate(base_url=served.address, session=session)
        statuses.append(answer.status_code)

    check()
    return statuses


@pytest.mark.parametrize(("method", "path"), READ + SENT)
def test_what_is_sent_as_described_is_taken(
    served: Any, session: requests.Session, schema: Any, method: str, path: str
) -> None:
    statuses = hold(served, session, schema[path][method], GenerationMode.POSITIVE)
    assert {*statuses} == ({204} if path == "/review" else {200})


@pytest.mark.parametrize(("method", "path"), SENT)
def test_what_is_not_as_described_is_refused(
    served: Any, session: requests.Session, schema: Any, method: str, path: str
) -> None:
    statuses = hold(served, session, schema[path][method], GenerationMode.NEGATIVE)
    assert 400 <= max(statuses) < 500  # what no client should add to a query is passed over


def test_every_operation_is_held_against_its_description(schema: Any) -> None:
    found = [one.ok() for one in schema.get_all_operations()]
    assert {(one.method.upper(), one.path) for one in found} == {*READ, *SENT}
