"""The second listener: signed URLs in, bytes out. It knows no repositories, tokens or rate limits."""

from urllib.parse import parse_qs

from crawler.local_hub.answers import Answer
from crawler.local_hub.files import sliced
from crawler.local_hub.requests import Asked
from crawler.local_hub.signing import SignedUrls


def cdn_answer(urls: SignedUrls, asked: Asked) -> Answer:
    """The file behind a signed URL, or the wanted range of it.

    400 when a token was sent here, as object stores answer two credentials at once; 403 when the URL was altered,
    re-quoted, or has expired; 404 when the bytes it was issued for are no longer there. CloudFront's `X-Cache` is
    left out: `@huggingface/hub` sends its token along to a CDN that has it.
    """
    if "Authorization" in asked.headers:
        return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
    whole = urls.recognise(asked.target)
    if whole is None:
        return _xml(403, "AccessDenied", "Access denied")
    try:
        status = whole.location.stat()
    except OSError:
        return _xml(404, "NoSuchKey", "The specified key does not exist.")
    if (status.st_size, status.st_mtime_ns) != (whole.size, whole.mtime_ns):
        return _xml(404, "NoSuchKey", "The specified key does not exist.")
    path, _, query = asked.target.partition("?")
    headers = {
        "ETag": f'"{path.rpartition("/")[2]}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": parse_qs(query)["response-content-disposition"][0],
        "Cache-Control": "public, max-age=31536000",
        "Access-Control-Allow-Origin": "*",
    }
    return sliced(whole, asked.headers.get("Range"), headers)


def _xml(status: int, code: str, message: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, {"Content-Type": "application/xml"}, text.encode())
