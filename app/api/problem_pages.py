"""What a problem's `type` refers to: a page that says what it means."""

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from app import http_protocol
from app.api.problems import FRAMEWORK_KINDS, KINDS, UNEXPECTED

router = APIRouter(include_in_schema=False)
_kinds = (*KINDS.values(), *FRAMEWORK_KINDS.values(), UNEXPECTED)
_titles = {kind.slug: kind.title for kind in _kinds} | {http_protocol.SLUG: http_protocol.TITLE}


@router.get("/problems/{slug}")
async def problem_page_endpoint(slug: str) -> Response:
    """Say in one line what the problem means."""
    if slug not in _titles:
        raise HTTPException(404)
    return PlainTextResponse(f"{_titles[slug]}\n")
