"""The only module that knows the JSONata engine; nothing but the fold process imports it."""

from typing import Final, TypeAlias

import jlens

from app.folding.bounds import MAX_ARRAY_LENGTH, MAX_DEPTH, MAX_STATE_BYTES, MAX_STEPS

Expression: TypeAlias = jlens.Expression

# What the engine's own messages do not say: that it is a bound.
_REASONS: Final = {
    "U1001": "goes beyond its bounds: ",
    "D1011": "recurses too deeply: ",
}


class ExpressionError(Exception):
    """An expression does not parse, or its evaluation fails; the message says where in it."""


def parse_expression(source: str) -> Expression:
    """The expression, compiled.

    Raises:
        ExpressionError: It does not parse.
    """
    try:
        return Expression(source)
    except jlens.JlensError as error:
        raise ExpressionError(_message(error)) from error


def evaluate(expression: Expression, document: str) -> str | None:
    """The result on a JSON document, as JSON; None: there is none ("undefined").

    The same whenever and wherever it is evaluated: what bounds it are counts, not times, and clock
    and seed are fixed. Whatever escapes these bounds ends the process (`bounds`).

    Raises:
        ExpressionError: It fails, or goes beyond its bounds.
    """
    try:
        return expression.evaluate_json(
            document,
            max_steps=MAX_STEPS,
            max_depth=MAX_DEPTH,
            max_string_length=MAX_STATE_BYTES,
            max_array_length=MAX_ARRAY_LENGTH,
            max_result_size=MAX_STATE_BYTES,
            now=0,
            seed=0,
        )
    except jlens.JlensError as error:
        raise ExpressionError(_message(error)) from error
    except ValueError as error:
        # It has been JSON so far: the engine reads no more than 128 levels of it.
        raise ExpressionError(f"state or event cannot be read: {error}") from error


def _message(error: jlens.JlensError) -> str:
    where = "" if error.position is None else f", at character {error.position}"
    return f"{_REASONS.get(error.code, '')}{error} ({error.code}{where})"
