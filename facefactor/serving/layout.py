"""What is on the page: controls for every model, drawn from what it offers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import gradio as gr

from facefactor import api
from facefactor.serving.offers import Offer

HOUR = 3600  # seconds that photos are kept
_ABOUT = (
    "# facefactor\nTake a face photo apart into identity, expression, pose and illumination, "
    "change any of them, put the face back. Photos stay on the machine that runs this page, which "
    "forgets them after an hour."
)


class Layout:
    """The parts of the page; made inside a `gr.Blocks`, they are on it.

    Nothing here knows a method: what models offer is drawn in a loop.
    """

    def __init__(
        self, offers: Mapping[str, Sequence[Offer]], abilities: Sequence[Collection[str]]
    ) -> None:
        """Args:
        offers: of each model, by its name; at least one each.
        abilities: of each model, see `api.abilities`.
        """
        self.offers, self.abilities = offers, abilities
        gr.Markdown(_ABOUT)
        self.session = gr.State(None, time_to_live=HOUR)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                self._draw_photo()
            with gr.Column(scale=3, min_width=320):
                with gr.Tab("Edit"):
                    self._draw_edits()
                    self._draw_result()
                with gr.Tab("Analyse"):
                    self._draw_analysis()

    def _draw_photo(self) -> None:
        self.photo = gr.Image(
            label="Photo",
            sources=["upload", "webcam", "clipboard"],
            type="filepath",
            image_mode=None,  # the file as it is: we read it ourselves
            height=340,
            elem_id="photo",
        )
        portraits = api.portrait_paths()
        gr.Examples(
            [[str(path)] for path in portraits.values()],
            self.photo,
            example_labels=list(portraits),
            cache_examples=False,
        )
        self.people = gr.Image(
            label="Click the face to work on",
            interactive=False,
            visible=False,
            elem_id="people",
            buttons=[],
        )
        self.found = gr.Markdown("No photo yet.", elem_id="found")

    def _draw_edits(self) -> None:
        first = next(iter(self.offers))
        self.model = gr.Radio(list(self.offers), value=first, label="Model", elem_id="model")
        self.edit = gr.Dropdown(
            [offer.name for offer in self.offers[first]],
            value=self.offers[first][0].name,
            label="Edit",
            elem_id="edit",
            filterable=False,
        )
        self.groups: dict[tuple[str, str], gr.Group] = {}
        self.sliders: dict[tuple[str, str], list[gr.Slider]] = {}
        for place, offer in all_offers(self.offers):
            shown = place == (first, self.offers[first][0].name)
            with gr.Group(visible=shown) as self.groups[place]:
                gr.Markdown(offer.about, elem_classes="about")
                self.sliders[place] = [
                    gr.Slider(
                        one.low, one.high, one.value, step=one.step, label=one.name, info=one.label
                    )
                    for one in offer.sliders
                ]
        with gr.Group(visible=self.offers[first][0].reference) as self.reference_group:
            self.reference = gr.Image(
                label="The other face: a photo",
                sources=["upload", "webcam", "clipboard"],
                type="filepath",
                image_mode=None,
                height=240,
                elem_id="reference",
            )
            self.clip = gr.File(
                label="or a clip, which makes a film",
                file_types=[".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif"],
                height=110,
                elem_id="clip",
            )
        self.apply = gr.Button("Apply", variant="primary", elem_id="apply")

    def _draw_analysis(self) -> None:
        self.analyse = gr.Button("Analyse this face", variant="primary", elem_id="analyse")
        self.expression = gr.Label(label="Expression", num_top_classes=8, elem_id="expression")
        with gr.Row():
            self.axes = gr.Image(
                label="Head pose", interactive=False, height=260, elem_id="axes", buttons=[]
            )
            self.angles = gr.Markdown(elem_id="angles")
        self.told_by = gr.Markdown(elem_id="told-by")
        self.views = gr.Gallery(
            show_label=False,
            columns=3,
            height="auto",
            interactive=False,
            elem_id="views",
            elem_classes="sheet",
            buttons=[],
        )
        # Not shown together with its value: gradio then often draws nothing.
        shape = any("shape" in able for able in self.abilities)
        self.solid = gr.Model3D(
            label="Mesh", interactive=False, height=320, visible=shape, elem_id="solid"
        )
        with gr.Row():
            self.codes_file = gr.DownloadButton("Codes (JSON)", visible=False, elem_id="codes")
            self.mesh_file = gr.DownloadButton("Mesh (GLB)", visible=False, elem_id="mesh")

    def _draw_result(self) -> None:
        self.result = gr.ImageSlider(
            label="Before and after",
            interactive=False,
            visible=False,
            format="jpeg",
            max_height=560,
            elem_id="result",
            buttons=["fullscreen"],
        )
        self.film = gr.Video(label="Film", interactive=False, visible=False, elem_id="film")
        self.picture_file = gr.DownloadButton("Picture (PNG)", visible=False, elem_id="picture")
        self.history_title = gr.Markdown("History: click a step to go on from there", visible=False)
        self.history = gr.Gallery(
            show_label=False,
            columns=4,
            fit_columns=False,
            height="auto",
            allow_preview=False,
            interactive=False,
            visible=False,
            elem_id="history",
            elem_classes="sheet",
            buttons=[],
        )


def all_offers(
    offers: Mapping[str, Sequence[Offer]],
) -> Iterator[tuple[tuple[str, str], Offer]]:
    """(model, name of the offer) and the offer, of all models, in the order of their sliders."""
    for model, found in offers.items():
        for offer in found:
            yield (model, offer.name), offer
