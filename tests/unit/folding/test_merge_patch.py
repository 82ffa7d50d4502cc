"""app.folding.merge_patch: RFC 7396, on texts."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.folding.merge_patch import members_of, merge_patch

KEYS = st.sampled_from(["a", "b", "c", "", "ä", 'q"\\'])
JSON = st.recursive(
    st.none() | st.integers(-5, 5) | st.sampled_from(["", "null", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)


def patched(target: str, *patches: str) -> str:
    members = members_of(target.encode())
    for patch in patches:
        merge_patch(members, patch.encode())
    return msgspec.json.encode(members).decode()


def by_the_rfc(target: Any, patch: Any) -> Any:
    """The pseudocode of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = by_the_rfc(result.get(name), value)
    return result


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # Appendix A, where target and patch are objects
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
        # and its other corners
        ("{}", '{"a":[null,{"b":null}]}', '{"a":[null,{"b":null}]}'),
        ('{"a":1}', '{"a":{"b":null}}', '{"a":{}}'),
        ("{}", '{"a":"null"}', '{"a":"null"}'),
    ],
)
def test_as_in_the_rfc(target: str, patch: str, result: str) -> None:
    assert patched(target, patch) == result


def test_numbers_keep_their_digits() -> None:
    digits = "12345678901234567890.10"
    assert patched(f'{{"a":{digits}}}', f'{{"b":{{"c":{digits}}}}}', '{"b":{"d":1.50}}') == (
        f'{{"a":{digits},"b":{{"c":{digits},"d":1.50}}}}'
    )


@given(OBJECTS, st.lists(OBJECTS, max_size=5))
def test_any_patches(target: dict[str, Any], patches: list[dict[str, Any]]) -> None:
    expected: Any = target
    for patch in patches:
        expected = by_the_rfc(expected, patch)
    found = patched(json.dumps(target), *map(json.dumps, patches))
    assert json.loads(found) == expected
