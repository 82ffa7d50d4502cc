"""Refuses JSONata functions whose result is not determined by state and event.

Without them, and with the clock and the seed of the engine fixed, a state folded from a snapshot is
the one folded from the first event. This look at the text is for the author of the expression, who
would else wonder at a clock that stands.
"""

import re
from typing import Final

from app.errors import InvalidInput

UNDETERMINED: Final = {
    "now": "use event.occurred_at",
    "millis": "use $toMillis(event.occurred_at)",
    "random": "a state must be the same each time it is folded",
    "shuffle": "a state must be the same each time it is folded",
    "eval": "an expression must be known before it runs",
}
# What may hold a `$` that calls nothing goes by as a whole.
_TOKEN = re.compile(
    r"""
    "(?:[^"\\]|\\.)*+" | '(?:[^'\\]|\\.)*+' | `[^`]*+` | /\*.*?\*/
    | \$(?P<name>now|millis|random|shuffle|eval)(?!\w)
    """,
    re.VERBOSE | re.DOTALL,
)


def refuse_undetermined(expression: str, place: str) -> None:
    """Raise `InvalidInput` if an expression names such a function; ``place`` is its JSON path."""
    for token in _TOKEN.finditer(expression):
        if name := token["name"]:
            raise InvalidInput(
                place, f"at character {token.start()}: ${name} is not allowed: {UNDETERMINED[name]}"
            )
