"""What clients send becomes checked commands, or a refusal that says what is wrong."""

import json
from typing import Any

import pytest
from msgspec import Struct

from protocol import text
from protocol.commands import ANONYMOUS, CreateComment, EditPost, Person, PublishPost, React, ReadComments, Typing, View
from protocol.decode import CALLS, RULES, Request, decode_body, decode_command
from protocol.errors import Refused
from protocol.graph import Follow, Mute

ADA = Person(id=3, handle="ada", name="Ada")
HI = CreateComment(post="7", body="hi")
NOT_AN_ID = "{}: must be the decimal digits of an id"
NOT_AN_OP = "op: must be 1 to 128 printable ASCII characters"


def refusal(method: str, data: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        decode_command(method, data, ADA)
    return caught.value


@pytest.mark.parametrize(
    ("method", "data", "key", "command", "op"),
    [
        ("comment.create", {"post": "7", "body": "\r\nhi ", "op": "a"}, "post:7", HI, "a"),
        ("comment.create", {"post": "7", "body": "hi", "op": None}, "post:7", HI, None),
        ("react", {"post": "7", "kind": "like", "on": False}, "post:7", React(post="7", kind="like", on=False), None),
        ("view", {"post": "7"}, "post:7", View(post="7"), None),
        ("typing", {"post": "7", "on": False}, "post:7", Typing(post="7", on=False), None),
        ("comment.list", {"post": "7", "order": "best"}, "post:7", ReadComments(post="7", order="best"), None),
        ("post.edit", {"post": "7", "title": " a  b"}, "post:7", EditPost(post="7", title="a b"), None),
        ("post.publish", {"post": "7", "at": 5}, "post:7", PublishPost(post="7", at=5), None),
        ("follow", {"account": "7", "op": "a"}, "user:3", Follow(account="7"), "a"),
        ("mute", {"account": "7", "until": 5}, "user:3", Mute(account="7", until=5), None),
    ],
)  # fmt: skip
def test_an_rpc_is_the_struct_as_json_with_an_operation_id(
    method: str, data: Any, key: str, command: Any, op: str | None
) -> None:
    request = decode_command(method, json.dumps(data).encode(), ADA)
    assert request == Request(key, command, op)
    assert type(request.command) is type(command)


@pytest.mark.parametrize(
    ("method", "data", "code", "detail"),
    [
        ("nothing", b"{}", "method_not_found", "unknown method"),
        ("post.create", b"{}", "method_not_found", "unknown method"),
        ("comment.import", b"{}", "method_not_found", "unknown method"),
        ("view", b"", "invalid", "Object missing required field `post`"),
        ("view", b"{", "bad_request", "not well-formed JSON in UTF-8"),
        ("view", b'{"post":"\xff"}', "bad_request", "not well-formed JSON in UTF-8"),
        ("view", b'{"post":"\\ud800"}', "bad_request", "not well-formed JSON in UTF-8"),
        ("view", b'{"post":"1"}{}', "bad_request", "not well-formed JSON in UTF-8"),
        ("view", b"[]", "invalid", "Expected `object`, got `array`"),
        ("view", b'{"post":1}', "invalid", "post: expected `str`, got `int`"),
        ("view", b'{"post":"0"}', "invalid", None),
        ("view", b'{"post":"1\\n"}', "invalid", NOT_AN_ID.format("post")),
        ("view", b'{"post":"9223372036854775808"}', "invalid", NOT_AN_ID.format("post")),
        ("view", b'{"post":"1","op":"a"}', "invalid", "Object contains unknown field `op`"),
        ("react", b'{"post":"1","kind":"a\\u0000b"}', "invalid", "kind: must not contain NUL"),
        ("react", b'{"post":"1","kind":"like","comment":"x"}', "invalid", None),
        ("react", b'{"post":"1","kind":"like","op":"\xc3\xa9"}', "invalid", NOT_AN_OP),
        ("react", b'{"post":"1","kind":"like","op":"a\\nb"}', "invalid", NOT_AN_OP),
        ("react", b'{"post":"1","kind":"like","op":""}', "invalid", None),
        ("applaud", b'{"post":"1","total":1.5}', "invalid", "total: expected `int`, got `float`"),
        ("comment.create", b'{"post":"1","body":""}', "comment_empty", "the comment is empty"),
        ("comment.create", b'{"post":"1","body":"%b"}' % (b"x" * 10_001), "comment_too_long", None),
        ("comment.create", b'{"post":"1","body":"a","parent":"1\\n"}', "invalid", NOT_AN_ID.format("parent")),
        ("comment.list", b'{"post":"1","limit":201}', "invalid", "limit: expected `int` <= 200"),
        ("post.edit", b'{"post":"1","tags":["a",5]}', "invalid", "tags[1]: expected `str`, got `int`"),
        ("post.publish", b'{"post":"1","at":1e30}', "invalid", None),
        ("post.publish", b'{"post":"1","at":253402300800000}', "invalid", "at: must be a time in Unix milliseconds"),
        ("follow", b'{"account":7}', "invalid", "account: expected `str`, got `int`"),
        ("block", b'{"account":"9223372036854775808"}', "invalid", NOT_AN_ID.format("account")),
        ("mute", b'{"account":"7","until":-1}', "invalid", "until: must be a time in Unix milliseconds"),
        ("follower.gained", b'{"account":7}', "method_not_found", "unknown method"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_code_and_path(method: str, data: bytes, code: str, detail: str | None) -> None:
    refused = refusal(method, data)
    assert refused.code == code
    assert detail is None or refused.detail == detail


def test_who_is_not_signed_in_has_no_actor_to_follow_with() -> None:
    with pytest.raises(Refused) as caught:
        decode_command("follow", b'{"account":"7"}', ANONYMOUS)
    assert caught.value.code == "unauthorized"


@pytest.mark.parametrize("nested", [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000])
def test_nesting_without_end_is_a_bad_request_and_no_crash(nested: bytes) -> None:
    class Anything(Struct):
        any: Any

    with pytest.raises(Refused) as caught:
        decode_body(Anything, b'{"any":%b}' % nested)
    assert caught.value.code == "bad_request"


def test_every_rpc_has_rules_and_every_rule_a_field() -> None:
    assert {call.command for call in CALLS.values()} <= set(RULES)
    for command, rules in RULES.items():
        assert set(rules) <= set(command.__struct_fields__), command


def test_a_body_is_checked_by_the_rules_given() -> None:
    class Names(Struct, frozen=True):
        handle: str
        name: str | None = None

    rules = {"handle": text.handle, "name": text.display_name}
    assert decode_body(Names, b'{"handle":" Ada "}', rules) == Names("ada")
    with pytest.raises(Refused, match="name: must not be empty"):
        decode_body(Names, b'{"handle":"ada","name":" "}', rules)
