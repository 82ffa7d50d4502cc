"""Chooses a representation by ``Accept`` (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

from starlette.exceptions import HTTPException

# What a cache has to be told of each answer that was chosen, and of the refusal to choose.
VARY_ACCEPT = {"Vary": "Accept"}


def negotiate(accept: Sequence[str] | None, available: Sequence[str]) -> str:
    """The media type that the client likes best, by all lines of its ``Accept``.

    Of types that it likes the same, one that it names goes before one that a wildcard takes in,
    and then the first of ``available``. A range whose weight is not within 0 and 1 is ignored.

    Raises:
        HTTPException: 406; the client accepts none of them.
    """
    lines = accept or ()
    if not any(line.strip() for line in lines):
        return available[0]
    weights: dict[str, float] = {}
    for text in ",".join(lines).split(","):
        name, weight = _media_range(text)
        # False of "not a number", too.
        if 0 <= weight <= 1:
            weights.setdefault(name, weight)

    def preference(media_type: str) -> tuple[float, int]:
        """The weight by the most specific range that takes the type in, and how specific it is."""
        main_type = media_type.partition("/")[0]
        for specificity, name in ((2, media_type), (1, f"{main_type}/*"), (0, "*/*")):
            if name in weights:
                return weights[name], specificity
        return 0.0, 0

    best = max(available, key=preference)
    if preference(best)[0] == 0:
        raise HTTPException(406, f"available are {', '.join(available)}", VARY_ACCEPT)
    return best


def _media_range(text: str) -> tuple[str, float]:
    """A range's name and its weight; a weight that is no number is not a number."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, float("nan")
    return name, 1.0
