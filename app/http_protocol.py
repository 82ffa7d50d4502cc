"""The HTTP parser's own refusals as problem details, like every other error."""

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SLUG = "malformed-request"
TITLE = "This is not an HTTP request"


class ProblemProtocol(HttpToolsProtocol):
    """uvicorn's protocol; a request that cannot be parsed is answered as RFC 9457 says."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP request, and close the connection."""
        body = msgspec.json.encode(
            {
                "type": f"/problems/{SLUG}",
                "title": TITLE,
                "status": 400,
                "detail": msg,
            }
        )
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n"
            b"content-type: application/problem+json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()
