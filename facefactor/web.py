"""The page: a photo, a model, controls drawn from what the model declares, and what it sees."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from fastapi import FastAPI
from PIL import Image

from facefactor import api
from facefactor.errors import FaceFactorError
from facefactor.serving.desk import Desk, Limits, Shelf, read_faces, within
from facefactor.serving.layout import HOUR, Layout, all_offers
from facefactor.serving.looking import Seen, look_at
from facefactor.serving.mounting import mount
from facefactor.serving.offers import Offer, offers
from facefactor.serving.session import Session, Step, boxed, face_at, follow

_Answer = TypeVar("_Answer")
_TITLE = "facefactor"
_CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto; overflow-x: clip; }
footer { display: none !important; }
.about { padding: 8px 12px; background: var(--block-background-fill); }
.sheet, .sheet .grid-wrap { min-height: 0 !important; height: auto !important; }
.sheet .grid-wrap { max-height: none !important; }
.sheet .caption-label { white-space: normal; max-width: 96%; right: 2%; font-size: 11px; }
@media (max-width: 640px) {
  .gradio-container .main { padding: 12px !important; max-width: 100vw !important; }
  .sheet .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
}
"""
_SESSIONS = 16  # photos of as many tabs are kept in memory


def mounted(app: FastAPI, shelf: Shelf, desk: Desk, limits: Limits, folder: Path) -> FastAPI:
    """The page at `/` of an application; see `Page`."""
    page = Page(shelf, desk, limits, folder)
    return mount(app, page.blocks, limits, folder, _CSS)


class Page:
    """What happens when the parts of the page are used; `blocks` is the page."""

    def __init__(self, shelf: Shelf, desk: Desk, limits: Limits, folder: Path) -> None:
        """Args:
        folder: for what can be downloaded; gradio's temporary folder, which it empties.
        """
        self.shelf, self.desk, self.limits, self.folder = shelf, desk, limits, folder
        self.offers = {name: offers(shelf[name]) for name in shelf.names}
        # gradio's own telemetry would ask another host
        self.blocks = gr.Blocks(
            title=_TITLE, analytics_enabled=False, delete_cache=(HOUR // 6, HOUR)
        )
        with self.blocks:
            self.parts = Layout(self.offers, [api.abilities(shelf[name]) for name in shelf.names])
            self._connect()
        self.blocks.state_session_capacity = _SESSIONS
        self.blocks.queue(max_size=limits.waiting, default_concurrency_limit=None)

    def _connect(self) -> None:
        on = self.parts
        private: Any = {"api_visibility": "private"}  # programs have the REST service
        shown = [on.session, on.people, on.found, on.result, on.film, on.picture_file]
        shown += [on.history, on.history_title]
        controls = [*on.groups.values(), on.reference_group]
        numbers = [slider for sliders in on.sliders.values() for slider in sliders]
        cleared = [on.expression, on.axes, on.angles, on.told_by, on.views, on.solid]
        cleared += [on.codes_file, on.mesh_file]
        on.photo.change(self.see, on.photo, shown, **private).then(
            self.forget_analysis, None, cleared, show_progress="hidden", **private
        )
        on.people.select(self.choose_face, on.session, shown, **private)
        on.model.change(self.choose_model, on.model, [on.edit, *controls], **private)
        on.edit.change(self.show_controls, [on.model, on.edit], controls, **private)
        asked = [on.session, on.model, on.edit, on.reference, on.clip, *numbers]
        on.apply.click(self.change, asked, shown, **private)
        on.history.select(self.go_back, on.session, shown, **private)
        on.analyse.click(self.look, [on.session, on.model], cleared, **private)

    def choose_model(self, model: str) -> list[Any]:
        names = [offer.name for offer in self.offers[model]]
        return [gr.update(choices=names, value=names[0]), *self.show_controls(model, names[0])]

    def show_controls(self, model: str, edit: str) -> list[Any]:
        offer = next(one for one in self.offers[model] if one.name == edit)
        shown = [gr.update(visible=place == (model, edit)) for place in self.parts.groups]
        return [*shown, gr.update(visible=offer.reference)]

    def forget_analysis(self) -> list[Any]:
        hidden = gr.update(value=None, visible=False)
        return [None, None, "", "", None, None, hidden, hidden]

    async def see(self, path: str | None) -> list[Any]:
        """A photo was given, or taken away."""
        if path is None:
            return await self._show(None)
        faces = await self._faces(path, "all")
        return await self._show(Session([Step("photo", faces, 0)]))

    async def choose_face(self, session: Session | None, event: gr.SelectData) -> list[Any]:
        session = _given(session)
        step = session.now
        chosen = face_at(step.faces, *event.index)
        return await self._show(session.instead(replace(step, chosen=chosen)))

    async def go_back(self, session: Session | None, event: gr.SelectData) -> list[Any]:
        return await self._show(_given(session).at(int(event.index)))

    async def change(
        self,
        session: Session | None,
        model: str,
        edit: str,
        reference: str | None,
        clip: str | None,
        *numbers: float,
    ) -> list[Any]:
        """The edit asked for, of the face chosen."""
        session = _given(session)
        offer = next(one for one in self.offers[model] if one.name == edit)
        values = self._values((model, edit), numbers)
        face = session.now.face
        if offer.film is not None and clip is not None:
            film = await self._film(offer, face, clip, values)
            return await self._show(session, film=film)
        other = None
        if offer.reference:
            if reference is None:
                raise gr.Error("Give the other face: a photo, or a clip.", print_exception=False)
            other = (await self._faces(reference, "largest"))[0]

        def work() -> Step:
            edited = offer.edit(face, other, **values)
            return follow(_label(edit, values), session.now, edited)

        step = await self._run(work)
        return await self._show(session.then(step))

    async def look(self, session: Session | None, model: str) -> list[Any]:
        """All that the models can tell of the face chosen."""
        face = _given(session).now.face
        folder = self._new_folder()
        seen: Seen = await self._run(lambda: look_at(self.shelf, model, face, folder / "face.glb"))
        codes = folder / "codes.json"
        codes.write_text(json.dumps({"model": model, "codes": seen.codes}), encoding="utf-8")
        return [
            dict(seen.probabilities),
            seen.axes,
            seen.angles,
            seen.told_by,
            list(seen.views),
            seen.mesh,
            gr.update(value=codes, visible=True),
            gr.update(value=seen.mesh, visible=seen.mesh is not None),
        ]

    def _values(self, place: tuple[str, str], numbers: Sequence[float]) -> dict[str, float]:
        """Of the sliders of one offer, by their names."""
        start = 0
        for other, offer in all_offers(self.offers):
            if other == place:
                names = [slider.name for slider in offer.sliders]
                return dict(zip(names, map(float, numbers[start:]), strict=False))
            start += len(offer.sliders)
        raise gr.Error(f"There is no such edit: {', '.join(place)}.", print_exception=False)

    async def _film(
        self, offer: Offer, face: api.PhotoFace, clip: str, values: dict[str, float]
    ) -> Path:
        path = self._new_folder() / "film.mp4"
        seconds = self.limits.clip_seconds

        def work() -> Path:
            assert offer.film is not None
            in_time = within(seconds)

            def frames() -> Iterator[api.Photo]:
                for photo in offer.film(face, Path(clip), **values):  # type: ignore[misc]
                    in_time()
                    yield photo

            api.write_with_times_of(path, frames(), clip)  # and its sound
            return path

        return await self._run(work, seconds)

    async def _faces(self, path: str, which: str) -> list[api.PhotoFace]:
        data = Path(path).read_bytes()
        return await self._run(lambda: read_faces(data, "photo", self.limits, which))

    async def _run(self, work: Callable[[], _Answer], seconds: float | None = None) -> _Answer:
        """`work` at the desk; its errors are told on the page."""
        try:
            return await self.desk.run(work, seconds)
        except (FaceFactorError, ValueError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    async def _show(self, session: Session | None, film: Path | None = None) -> list[Any]:
        """`_shown` on a thread: writing pictures takes a while."""
        return await asyncio.to_thread(self._shown, session, film)

    def _shown(self, session: Session | None, film: Path | None = None) -> list[Any]:
        """What the page shows of a session."""
        hidden = gr.update(value=None, visible=False)
        if session is None:
            return [None, hidden, "No photo yet.", *[hidden] * 4, gr.update(visible=False)]
        step, count = session.now, len(session.now.faces)
        several = gr.update(value=boxed(step) if count > 1 else None, visible=count > 1)
        found = "One face found." if count == 1 else f"{count} faces found; click one."
        edited = len(session.steps) > 1
        film_shown = gr.update(value=film, visible=film is not None)
        title = gr.update(visible=edited)
        if not edited:
            return [session, several, found, hidden, film_shown, hidden, hidden, title]
        slider = gr.update(value=(session.steps[0].photo, step.photo), visible=True)
        path = self._new_folder() / "edited.png"
        Image.fromarray(step.photo).save(path, compress_level=3)
        file = gr.update(value=path, visible=True)
        steps = [(one.thumbnail, one.label) for one in session.steps]
        gallery = gr.update(value=steps, visible=True, selected_index=session.place)
        return [session, several, found, slider, film_shown, file, gallery, title]

    def _new_folder(self) -> Path:
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return folder


def _given(session: Session | None) -> Session:
    if session is None:
        raise gr.Error("Give a photo first.", print_exception=False)
    return session


def _label(edit: str, values: dict[str, float]) -> str:
    """Of a step: "expression strength 0.5", "lamp: azimuth 60, elevation 0, ..."."""
    if len(values) == 1 and edit.endswith(next(iter(values))):
        return f"{edit} {next(iter(values.values())):g}"
    told = ", ".join(f"{name} {value:g}" for name, value in values.items())
    return f"{edit}: {told}" if told else edit
