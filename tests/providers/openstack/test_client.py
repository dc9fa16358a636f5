"""What a cloud's refusal or silence becomes: one of the four errors, and never a word of what is secret."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from providers.contract import Kind
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome
from providers.openstack import build
from providers.openstack.client import Client
from providers.openstack.options import Options
from tests.providers.openstack.small_cloud import PASSWORD, TOKEN, Answer, SmallCloud, small_cloud


@pytest.fixture
def cloud() -> Iterator[SmallCloud]:
    with small_cloud() as running:
        yield running


@pytest.fixture
def client(cloud: SmallCloud) -> Iterator[Client]:
    made = Client(Options.parse(cloud.options))
    yield made
    made.close()


def refusal(client: Client, method: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        client.request("compute", method, "/servers", body={} if method == "POST" else None)
    return caught.value


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (400, "Invalid input", (Permanent, "refused")),
        (400, "Invalid volume: Volume status must be available, but is extending", (Temporary, "object_busy")),
        (401, "The request you have made requires authentication.", (ActionRequired, "credentials_refused")),
        (403, "Policy doesn't allow it", (ActionRequired, "forbidden")),
        (403, "Quota exceeded for instances: Requested 1, but already used 10", (Permanent, "quota_exceeded")),
        (404, "No such thing", (Permanent, "not_found")),
        (409, "Port is in use", (Permanent, "conflict")),
        (409, "Cannot 'resize' instance x while it is in vm_state building", (Temporary, "object_busy")),
        (409, "Quota exceeded for resources: ['network'].", (Permanent, "quota_exceeded")),
        (413, "VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded", (Permanent, "quota_exceeded")),
        (429, "Slow down", (Temporary, "busy")),
        (503, "Not now", (Temporary, "busy")),
        (500, "Oops", (UnknownOutcome, "server_error")),
        (502, "Bad gateway", (UnknownOutcome, "server_error")),
        (504, "Gateway time-out", (UnknownOutcome, "server_error")),
    ],
)
def test_each_status_of_an_order_says_what_to_do_next(
    status: int, message: str, expected: tuple[type[ProviderError], str], cloud: SmallCloud, client: Client
) -> None:
    """The caller learns whether anything was done, and the operator what the cloud said."""
    cloud.answers["POST", "/compute/servers"] = Answer(status, {"badRequest": {"message": message, "code": status}})
    refused = refusal(client, "POST")
    assert (type(refused), refused.code) == expected
    assert message.rstrip(".") in refused.detail


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_look_that_fails_can_be_repeated(status: int, cloud: SmallCloud, client: Client) -> None:
    """A GET changes nothing, so no answer to it is an unknown outcome."""
    cloud.answers["GET", "/compute/servers"] = Answer(status)
    assert isinstance(refusal(client, "GET"), Temporary)


def test_a_cloud_says_when_to_come_back(cloud: SmallCloud, client: Client) -> None:
    """Retry-After is passed on, in seconds."""
    cloud.answers["POST", "/compute/servers"] = Answer(429, {}, {"Retry-After": "17"})
    refused = refusal(client, "POST")
    assert isinstance(refused, Temporary)
    assert refused.retry_after_s == 17


@pytest.mark.parametrize(("method", "error"), [("GET", Temporary), ("POST", UnknownOutcome)])
def test_an_answer_that_does_not_come_leaves_an_order_open(
    method: str, error: type[ProviderError], cloud: SmallCloud, client: Client
) -> None:
    """After a read time-out the order may have been carried out, or may still be."""
    asked = threading.Event()
    cloud.answers[method, "/compute/servers"] = Answer(hang=asked)
    client.request("compute", "GET", "/flavors", absent=True)  # signs in without haste
    client._options = replace(client._options, request_timeout_s=0.2)
    refused = refusal(client, method)
    asked.set()
    assert type(refused) is error


@pytest.mark.parametrize(("method", "error"), [("GET", Temporary), ("POST", UnknownOutcome)])
def test_a_connection_that_breaks_leaves_an_order_open(
    method: str, error: type[ProviderError], cloud: SmallCloud, client: Client
) -> None:
    """The request was sent; that nothing came back proves nothing."""
    cloud.answers[method, "/compute/servers"] = Answer(drop=True)
    assert type(refusal(client, method)) is error


def test_an_order_that_never_left_is_temporary(cloud: SmallCloud, client: Client) -> None:
    """A refused connection proves that nothing was done, even for an order."""
    client.request("compute", "GET", "/servers", absent=True)  # signs in while the cloud is there
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        connection = client._connection(None)
        connection.compute.endpoint_override = nowhere
        refused = refusal(client, "POST")
    assert isinstance(refused, Temporary)
    assert refused.code == "unreachable"


def test_a_cloud_that_is_not_there_is_temporary() -> None:
    """Signing in meets a refused connection: nothing was done."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        options = {"auth_url": f"http://127.0.0.1:{closed.getsockname()[1]}/v3", "username": "u", "password": "p"}
        provider = build("main", {**options, "project_name": "admin"})
        with pytest.raises(Temporary):
            provider.list(Kind.SERVER)
        assert not provider.health().healthy
        provider.close()


@pytest.mark.parametrize(
    ("status", "error"), [(401, ActionRequired), (403, ActionRequired), (500, Temporary), (503, Temporary)]
)
def test_signing_in_orders_nothing(status: int, error: type[ProviderError], cloud: SmallCloud, client: Client) -> None:
    """What goes wrong before the order is sent is never an unknown outcome."""
    cloud.answers["POST", "/v3/auth/tokens"] = Answer(status, {"error": {"message": "no"}})
    assert type(refusal(client, "POST")) is error
    assert ("POST", "/compute/servers") not in cloud.asked


def test_what_is_secret_is_in_no_error_and_no_log(
    cloud: SmallCloud, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the password nor a token nor a request's body leaves the adapter, whatever level is logged."""
    caplog.set_level("DEBUG")
    cloud.answers["POST", "/compute/servers"] = Answer(500, {"computeFault": {"message": "no"}})
    with pytest.raises(UnknownOutcome) as caught:
        client.request("compute", "POST", "/servers", body={"server": {"user_data": "c2VjcmV0LXVzZXItZGF0YQ=="}})
    wrong = Client(Options.parse(cloud.options))
    cloud.answers["POST", "/v3/auth/tokens"] = Answer(401, {"error": {"message": "no"}})
    with pytest.raises(ActionRequired) as refused:
        wrong.request("compute", "GET", "/servers")
    wrong.close()
    said = f"{caught.value!r} {caught.value.detail} {refused.value!r} {refused.value.detail} {caplog.text} {client!r}"
    for secret in (PASSWORD, TOKEN, "c2VjcmV0LXVzZXItZGF0YQ=="):
        assert secret not in said
    assert PASSWORD not in repr(Options.parse(cloud.options))


def test_a_call_ends_in_time(cloud: SmallCloud, client: Client) -> None:
    """Several slow requests together take no longer than the call may; what is left over is said to be temporary."""
    asked = threading.Event()
    cloud.answers["GET", "/compute/servers"] = Answer(hang=asked)
    client.request("compute", "GET", "/flavors", absent=True)
    with client.call(0.3):
        first = refusal(client, "GET")
        second = refusal(client, "GET")
    asked.set()
    assert (first.code, second.code) == ("unreachable", "call_timeout")


def test_a_list_is_read_to_its_end(cloud: SmallCloud, client: Client) -> None:
    """Every page of a list counts, however a service names the next one."""

    def compute(query: str) -> Answer:
        last = "marker=s2" in query
        links = [] if last else [{"rel": "next", "href": f"{cloud.url}/compute/servers?limit=2&marker=s2"}]
        return Answer(
            200, {"servers": [{"id": "s3"}] if last else [{"id": "s1"}, {"id": "s2"}], "servers_links": links}
        )

    def image(query: str) -> Answer:
        last = "marker=i1" in query
        more = {} if last else {"next": "/v2/images?marker=i1"}
        return Answer(200, {"images": [{"id": "i2" if last else "i1"}], **more})

    cloud.answers["GET", "/compute/servers"] = compute
    cloud.answers["GET", "/image/images"] = image
    assert [each["id"] for each in client.pages("compute", "/servers", "servers")] == ["s1", "s2", "s3"]
    assert [each["id"] for each in client.pages("image", "/images", "images")] == ["i1", "i2"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"password": ""}, "password"),
        ({"colour": "red"}, "colour"),
        ({"network_mode": "carrier-pigeon"}, "network_mode"),
        ({"ssh_sources": "10.0.0.0/8"}, "ssh_sources"),
        ({"request_timeout_s": "-1"}, "request_timeout_s"),
        ({"config_drive": "perhaps"}, "config_drive"),
    ],
)
def test_an_option_that_cannot_be_understood_is_named(change: dict[str, str], named: str, cloud: SmallCloud) -> None:
    """A person has to mend it, and is told which one, not what it held."""
    with pytest.raises(ActionRequired, match=named) as refused:
        build("main", {**cloud.options, **change})
    assert PASSWORD not in str(refused.value)
