"""What stands in front of Slack and answers for it: proxies, gateways, sign-in pages, fragments.

None of these is Slack's word: Slack answers with a whole JSON object that says `ok`.
"""

from __future__ import annotations

from dataclasses import dataclass

PAGE = "<html><head><title>Sign in</title></head><body>Sign in to go on</body></html>"


@dataclass(frozen=True, slots=True)
class ProxyAnswer:
    """An HTTP answer that Slack did not give."""

    status: int
    body: str | bytes
    content_type: str
    location: str = ""


PROXY_ANSWERS = {
    "page_200": ProxyAnswer(200, PAGE, "text/html"),
    "page_403": ProxyAnswer(403, PAGE, "text/html"),
    "page_404": ProxyAnswer(404, PAGE, "text/html"),
    "page_407": ProxyAnswer(407, PAGE, "text/html"),
    "page_421": ProxyAnswer(421, PAGE, "text/html"),
    "page_502": ProxyAnswer(502, PAGE, "text/html"),
    "text_200": ProxyAnswer(200, "Proxy: try later", "text/plain"),
    "text_403": ProxyAnswer(403, "forbidden", "text/plain"),
    "empty_200": ProxyAnswer(200, "", "text/plain"),
    "empty_200_json": ProxyAnswer(200, "", "application/json"),
    # to somebody who says `ok` to everything
    "redirect_302": ProxyAnswer(302, "", "text/plain", "/api/auth.test"),
    "redirect_307": ProxyAnswer(307, "", "text/plain", "/api/auth.test"),
    "empty_404": ProxyAnswer(404, "", "application/json"),
    "page_as_json": ProxyAnswer(200, PAGE, "application/json"),
    "half_json": ProxyAnswer(200, '{"ok": true, "ts": "17', "application/json"),
    "json_null": ProxyAnswer(200, "null", "application/json"),
    "json_list": ProxyAnswer(200, '["blocked"]', "application/json"),
    "json_text": ProxyAnswer(200, '"blocked"', "application/json"),
    "json_number": ProxyAnswer(200, "7", "application/json"),
    "json_deep": ProxyAnswer(200, "[" * 100_000, "application/json"),
    "other_object": ProxyAnswer(403, '{"message": "not allowed"}', "application/json"),
    "other_error": ProxyAnswer(403, '{"error": "blocked_by_policy"}', "application/json"),
    "no_code": ProxyAnswer(200, '{"ok": false}', "application/json"),
    "code_is_no_text": ProxyAnswer(200, '{"ok": false, "error": {"id": 1}}', "application/json"),
    "ok_is_no_bool": ProxyAnswer(200, '{"ok": "yes", "ts": "1.1"}', "application/json"),
    "not_utf8": ProxyAnswer(200, b'{"ok": true, "ts": "\xff\xfe"}', "application/json"),
    "gzip": ProxyAnswer(200, b"\x1f\x8b\x08", "application/gzip"),
}
