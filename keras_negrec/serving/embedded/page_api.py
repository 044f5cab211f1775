"""The page at `/`: its files, and what it is told beside the REST API's answers."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from keras_negrec.serving.embedded.service import Service
from keras_negrec.serving.write_sample import ITEM_NAMES, LISTENERS

_FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_OFFERED = 2000  # items that the page offers to choose from
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
}


class PageApi:
    """Answers what the page asks for; `routes` are those of the application."""

    def __init__(self, service: Service, folder: Path):
        self._store, self._folder = service.store, folder
        self.routes = [
            *(Route(path, _file) for path in _FILES),
            Route("/page", self._models),
            Route("/page/{model:path}/names", self._names),
            Route("/page/{model:path}", self._model),
        ]

    def _models(self, request: Request) -> Response:
        return _json({"models": [loaded.name for loaded in self._store.served()]})

    def _model(self, request: Request) -> Response:
        """Listeners, and items to choose from: `[id, name]` each."""
        if (folder := self._folder_of(request)) is None:
            return _unknown(request)
        listeners = json.loads(_text(folder / LISTENERS) or "[]")
        names = _item_names(*_identity(folder / ITEM_NAMES))
        items: list = list(names.items())
        if not items:
            items = [[item, None] for listener in listeners for item in listener["item_ids"]]
        return _json({"listeners": listeners, "items": items[:_OFFERED], "has_names": bool(names)})

    def _names(self, request: Request) -> Response:
        """The names of the items of the query, as far as they are known."""
        if (folder := self._folder_of(request)) is None:
            return _unknown(request)
        names = _item_names(*_identity(folder / ITEM_NAMES))
        asked = request.query_params.getlist("item")
        return _json({item: names[item] for item in asked if item in names})

    def _folder_of(self, request: Request) -> Path | None:
        name = request.path_params["model"]
        is_served = name in [loaded.name for loaded in self._store.served()]
        return self._folder / name if is_served else None


def _file(request: Request) -> Response:
    path = Path(__file__).parent / "page" / _FILES[request.url.path]
    return Response(path.read_bytes(), headers=_HEADERS, media_type=_TYPES[path.suffix])


def _json(content: Any) -> Response:
    return JSONResponse(content, headers=_HEADERS)


def _unknown(request: Request) -> Response:
    return PlainTextResponse(f"No model {request.path_params['model']} is served.", 404)


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def _identity(path: Path) -> tuple[Path, int]:
    """A file, and what changes when it is written again."""
    return path, path.stat().st_mtime_ns if path.is_file() else 0


@cache
def _item_names(path: Path, written: int) -> dict[str, str]:
    """Names by ids."""
    if not written:
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["item"]: row["name"] for row in csv.DictReader(file)}
