"""What stands between the local server and any other page or program: host, origin, token, size, headers.

Threats: DNS rebinding (Host), cross-site requests (Origin, SameSite), other users of the machine (token), a page that
shows another's script (content security policy), floods (body limit).
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sacroplasty.workstation.refusals import FORBIDDEN, WITHOUT_READ_ONLY, Refused, body_of

COOKIE = "sacroplasty_session"
OPEN_PATHS = frozenset({"/health"})
# Bodies that may be large: scans, masks, fluoroscopy images. All others are small.
LARGE_BODIES = re.compile(r"/api/(uploads/[^/]+/files/|cases/[^/]+/(labels/|lesion/mask$))")
SMALL_BODY_BYTES = 4 << 20
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# A document that forbids itself everything keeps its own policy: the report, whose style lies in it.
SANDBOX = "default-src 'none'"
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass
class Session:
    """One run of the server: a token shown once in the address, then a cookie that scripts cannot read."""

    invitation: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    invited: bool = False

    def accepts_invitation(self, token: str) -> bool:
        """The token of the address opens the session once."""
        if self.invited or not hmac.compare_digest(token.encode(), self.invitation.encode()):
            return False
        self.invited = True
        return True

    def accepts_cookie(self, value: str) -> bool:
        """The cookie belongs to this session."""
        return hmac.compare_digest(value.encode(), self.cookie.encode())


class Guard:
    """ASGI layer around the application; refuses before any route runs, with `read_only` all that changes a case."""

    def __init__(
        self, app: ASGIApp, session: Session, port: int, largest_body_bytes: int = 1 << 30, *, read_only: bool = False
    ) -> None:
        self.app, self.session, self.largest_body_bytes, self.read_only = app, session, largest_body_bytes, read_only
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        answer = refusal or self._welcome(scope) or self._unchanged(scope)
        if answer is not None:
            await answer(scope, receive, _with_headers(send))
            return
        await self.app(scope, self._limited(receive, self._limit(scope)), _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self.hosts:
            return PlainTextResponse("This server answers only to its own address.", 421)
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins:
            return PlainTextResponse("Requests from other pages are refused.", 403)
        if scope["method"] not in SAFE_METHODS and origin is None and headers.get("sec-fetch-site") == "cross-site":
            return PlainTextResponse("Requests from other pages are refused.", 403)
        try:
            length = int(headers.get("content-length", "0"))
        except ValueError:
            return PlainTextResponse("The length of the request is not a number.", 400)
        if length > self._limit(scope) or length < 0:
            return PlainTextResponse("The request is too large.", 413)
        return None

    def _welcome(self, scope: Scope) -> Response | None:
        """Exchange the invitation for a cookie, let a known session through, refuse the rest."""
        token = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and token and self.session.accepts_invitation(token):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self.session.cookie, httponly=True, samesite="strict", path="/")
            return answer
        if scope["path"] in OPEN_PATHS or self.session.accepts_cookie(_cookie(Headers(scope=scope))):
            return None
        return PlainTextResponse("Open the address that `sacroplasty serve` printed.", 401)

    def _unchanged(self, scope: Scope) -> Response | None:
        """A server that only shows cases takes no request that could change, compute or send anything."""
        if not self.read_only or scope["method"] in SAFE_METHODS:
            return None
        return JSONResponse(
            body_of(Refused(FORBIDDEN, "This server only shows cases; nothing was changed", remedy=WITHOUT_READ_ONLY)),
            FORBIDDEN,
        )

    def _limit(self, scope: Scope) -> int:
        large = LARGE_BODIES.match(scope["path"])
        return self.largest_body_bytes if large else min(SMALL_BODY_BYTES, self.largest_body_bytes)

    def _limited(self, receive: Receive, limit: int) -> Receive:
        """A body that streams past the limit ends as a disconnect, whatever length it declared."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return {"type": "http.disconnect"} if seen > limit else message

        return counted


def _cookie(headers: Headers) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            for name, content in _HEADERS.items():
                if name != "content-security-policy" or SANDBOX not in headers.get(name, ""):
                    headers[name] = content
            message = {**message, "headers": headers.raw}
        await send(message)

    return sending
