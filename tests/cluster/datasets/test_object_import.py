"""Files come from the places that an operator named, and from nowhere else, whatever a user writes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster.datasets.object_import import ObjectImporter, parse_location
from quantis.errors import Forbidden, InvalidInput, NotFound, QuantisError, TooLarge, Unavailable

MOST = 10_000


class Store(BaseHTTPRequestHandler):
    """As much of S3 as reading takes: HEAD and GET of an object, with ranges; a list that is always empty."""

    objects: dict[str, bytes] = {}
    asked: list[str] = []
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, whole: bool) -> None:
        self.asked.append(self.path)
        path, _, query = self.path.partition("?")
        found = self.objects.get(path)
        if found is None:
            listed = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
            content = listed if "list-type" in query else b"<Error><Code>NoSuchKey</Code></Error>"
            self._send(200 if "list-type" in query else 404, content, whole)
            return
        first, last = 0, len(found) - 1
        if "Range" in self.headers:
            first, last = (int(end) for end in self.headers["Range"].removeprefix("bytes=").split("-"))
            last = min(last, len(found) - 1)
        self._send(206 if "Range" in self.headers else 200, found[first : last + 1], whole)

    def _send(self, status: int, content: bytes, whole: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        if whole:
            self.wfile.write(content)

    def log_message(self, format: str, *words: object) -> None:
        return


@contextmanager
def serving(handler: type[Store]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[Store], str]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    handler = type("OneStore", (Store,), {"objects": {}, "asked": []})
    with serving(handler) as url:
        yield handler, url


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "team-a" / "deep").mkdir(parents=True)
    (folder / "team-b").mkdir()
    (folder / "team-a" / "sales.csv").write_bytes(b"x" * 100)
    (folder / "team-b" / "sales.csv").write_bytes(b"y" * 100)
    (tmp_path / "secret.csv").write_bytes(b"secret")
    return folder


def fetched(imports: ObjectImporter, url: str, tmp_path: Path, team: str = "team-a") -> bytes:
    target = tmp_path / "target"
    target.unlink(missing_ok=True)
    imports.fetch(team, url, target, MOST)
    return target.read_bytes()


def test_when_a_file_lies_below_an_allowed_folder_then_it_is_copied(mounted: Path, tmp_path: Path) -> None:
    imports = ObjectImporter([f"file://{mounted}/{{team}}"])
    assert fetched(imports, f"file://{mounted}/team-a/sales.csv", tmp_path) == b"x" * 100


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file://{in}/team-b/sales.csv", Forbidden),
        ("file://{in}/team-a", Forbidden),
        ("file://{in}/team-a-b/sales.csv", Forbidden),
        ("file://{in}/team-a/../../secret.csv", InvalidInput),
        ("file://{in}/team-a/%2e%2e/team-b/sales.csv", InvalidInput),
        ("file://{in}/team-a//sales.csv", InvalidInput),
        ("file://{in}/team-a/./sales.csv", InvalidInput),
        ("file://{in}/team-a\\..\\..\\secret.csv", InvalidInput),
        ("file://{in}/team-a/sales.csv?x=1", InvalidInput),
        ("file://{in}/team-a/sales.csv#x", InvalidInput),
        ("file://{in}/team-a/sa\nles.csv", InvalidInput),
        ("file://{in}/team-a/" + "x" * 2000, InvalidInput),
        ("file://localhost{in}/team-a/sales.csv", InvalidInput),
        ("FILE:/etc/passwd", Forbidden),
        ("file:///etc/passwd", Forbidden),
        ("/etc/passwd", InvalidInput),
        ("http://169.254.169.254/latest/meta-data", InvalidInput),
        ("https://bucket.example/file.csv", InvalidInput),
        ("ftp://bucket/file.csv", InvalidInput),
        ("s3://other/in/sales.csv", Forbidden),
        ("s3://bucket/in/../secret.csv", InvalidInput),
        ("s3://bucket/inside/sales.csv", Forbidden),
        ("s3://key:secret@bucket/in/sales.csv", InvalidInput),
        ("s3://key@bucket/in/sales.csv", InvalidInput),
        ("s3://bucket:9000/in/sales.csv", InvalidInput),
        ("s3://bucket:99999999/in/sales.csv", InvalidInput),
        ("s3://[::1/in/sales.csv", InvalidInput),
        ("s3://169.254.169.254/in/x.csv", Forbidden),
        ("s3:///in/sales.csv", InvalidInput),
        ("s3://BUCKET/in/sales.csv", InvalidInput),
        ("", InvalidInput),
        ("file://{in}/team-a/link.csv", NotFound),
        ("file://{in}/team-a/linked/secret.csv", NotFound),
        ("file://{in}/team-a/deep", NotFound),
        ("file://{in}/team-a/pipe.csv", NotFound),
        ("file://{in}/team-a/none.csv", NotFound),
        ("file://{in}/team-a/large.csv", TooLarge),
        ("file://{in}/team-a/empty.csv", InvalidInput),
    ],
)
def test_when_an_address_is_not_plainly_below_an_allowed_place_then_it_is_refused_by_name(
    mounted: Path, tmp_path: Path, url: str, kind: type[QuantisError]
) -> None:
    team = mounted / "team-a"
    (team / "link.csv").symlink_to(tmp_path / "secret.csv")
    (team / "linked").symlink_to(tmp_path)
    (team / "large.csv").write_bytes(b"x" * (MOST + 1))
    (team / "empty.csv").touch()
    os.mkfifo(team / "pipe.csv")
    imports = ObjectImporter([f"file://{mounted}/{{team}}", "s3://bucket/in"], "http://127.0.0.1:9")
    with pytest.raises(kind) as caught:
        fetched(imports, url.replace("{in}", str(mounted)), tmp_path)
    assert len(caught.value.message) < 500


def test_when_no_place_is_configured_then_nothing_is_imported(mounted: Path, tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="QUANTIS_IMPORT_URLS"):
        fetched(ObjectImporter([]), f"file://{mounted}/team-a/sales.csv", tmp_path)


def test_when_a_bucket_is_allowed_then_its_objects_are_copied_and_only_its_store_is_asked(
    store: tuple[type[Store], str], tmp_path: Path
) -> None:
    handler, url = store
    handler.objects["/bucket/in/sales.csv"] = b"z" * 5000
    handler.objects["/bucket/other.csv"] = b"no"
    imports = ObjectImporter(["s3://bucket/in"], url)
    assert fetched(imports, "s3://bucket/in/sales.csv", tmp_path) == b"z" * 5000
    assert handler.asked
    handler.asked.clear()
    with pytest.raises(Forbidden):
        fetched(imports, "s3://bucket/other.csv", tmp_path)
    assert handler.asked == []
    with pytest.raises(NotFound, match="none"):
        fetched(imports, "s3://bucket/in/none.csv", tmp_path)


def test_when_an_object_is_too_large_then_no_more_is_read_than_is_allowed(
    store: tuple[type[Store], str], tmp_path: Path
) -> None:
    handler, url = store
    handler.objects["/bucket/in/large.csv"] = b"z" * (MOST + 1)
    with pytest.raises(TooLarge, match="split it"):
        fetched(ObjectImporter(["s3://bucket/in"], url), "s3://bucket/in/large.csv", tmp_path)


def test_when_the_object_store_is_away_then_it_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(Unavailable, match="object store"):
        fetched(ObjectImporter(["s3://bucket/in"], "http://127.0.0.1:9"), "s3://bucket/in/x.csv", tmp_path)


def test_when_a_place_holds_another_then_names_are_compared_whole() -> None:
    inside = parse_location("s3://bucket/in")
    assert inside.contains(parse_location("s3://bucket/in/a/b.csv"))
    assert not inside.contains(parse_location("s3://bucket/input/b.csv"))
    assert not inside.contains(parse_location("s3://bucket/in"))
