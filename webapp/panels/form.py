"""The fields of all methods follow the picture that is chosen: they show what it was made with."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from pipeline import StyleCLIP
from pipeline.wishes import Wish
from webapp.panels.alignment import Alignment
from webapp.panels.directions import Directions, kept_note, most_channels
from webapp.panels.gallery import Gallery
from webapp.panels.optimization import NO_FACE, THIS_FACE, Optimization, as_html, broken_off
from webapp.panels.painting import Painting
from webapp.presets import Pair
from webapp.render import Updates
from webapp.session import Session

TABS = {
    "direct": "directions",
    "combine": "sliders",
    "exchange": "directions",
    "map": "mappers",
    "style": "styles",
    "paint": "styles",
    "optimize": "optimization",
    "generate": "optimization",
    "csla_edit": "alignment",
    "csla_generate": "alignment",
}


@dataclass(frozen=True)
class Form:
    """The field for words with what is said of them, the fold with the tabs, and the panels in them."""

    text: gr.Textbox
    said: gr.HTML
    offers: gr.Dataset
    methods: gr.Accordion
    tabs: gr.Tabs
    directions: Directions
    mappers: Gallery
    styles: Gallery
    painting: Painting
    optimization: Optimization
    alignment: Alignment

    @property
    def fields(self) -> dict[str, dict[str, gr.components.Component]]:
        """For each method the fields of its parameters, by their names in a recipe."""
        directions, optimization, alignment = self.directions, self.optimization, self.alignment
        return {
            "direct": {
                "target": directions.texts.target,
                "neutral": directions.texts.neutral,
                "strength": directions.strength,
                "threshold": directions.threshold,
                "keep": directions.keep,
            },
            "combine": {},
            "exchange": {"target": directions.texts.target, "neutral": directions.texts.neutral},
            "map": {"mapper": self.mappers.name, "strength": self.mappers.strength},
            "style": {"style": self.styles.name, "strength": self.styles.strength},
            "paint": {"target": self.painting.words, "neutral": self.painting.neutral},
            "optimize": {
                "prompt": optimization.words,
                "steps": optimization.steps,
                "l2": optimization.l2,
                "identity": optimization.identity,
            },
            "generate": {"prompt": optimization.words, "steps": optimization.steps},
            "csla_edit": {
                "target": alignment.texts.target,
                "neutral": alignment.texts.neutral,
                "strength": alignment.strength,
                "levels": alignment.levels,
            },
            "csla_generate": {"prompt": alignment.texts.target, "strength": alignment.strength},
        }

    @property
    def galleries(self) -> tuple[Gallery, Gallery]:
        """Of what is chosen by its name."""
        return self.mappers, self.styles

    @property
    def notes(self) -> list[gr.HTML]:
        """What is said beside the fields of an edit that was asked for."""
        return [self.said, self.directions.kept, self.optimization.note, self.alignment.note]

    @property
    def all(self) -> list[gr.blocks.Block]:
        """What `draw` gives values to."""
        named = [field for fields in self.fields.values() for field in fields.values()]
        others = [self.directions.channels, self.directions.offer, self.optimization.start]
        others += [panel.gallery for panel in self.galleries]
        return list(dict.fromkeys([self.text, self.offers, self.tabs, *named, *others, *self.notes]))


def draw(form: Form, studio: StyleCLIP, pairs: tuple[Pair, ...], session: Session) -> Updates:
    """The fields and notes. Of a face, with which edits begin, there is nothing to fill in: the fields keep what stands
    in them for the next edit, and notes on another picture go."""
    current = session.current
    values: Updates = dict.fromkeys(form.all, gr.skip()) | dict.fromkeys(form.notes, "")
    values |= dict.fromkeys((form.directions.offer, form.offers), gr.update(visible=False))
    if session.why_ended:
        values[form.optimization.note] = as_html(session.why_ended)
    if not current.recipes:
        return values
    recipe = current.recipes[-1]
    method, parameters = recipe["method"], recipe["parameters"]
    if current.wish:
        values |= wished(form, studio, pairs, session, current.wish)
    values |= {field: parameters.get(name) for name, field in form.fields[method].items()}
    values[form.tabs] = gr.update(selected=TABS[method])
    if method == "direct":
        values[form.directions.keep] = parameters.get("keep", [])
    if method == "direct" and current.channels:
        said = [note for note in current.notes if note != studio.directions_note]
        values[form.directions.kept] = kept_note(current.channels, *said)
        values[form.directions.channels] = min(current.channels, most_channels(studio))
    if method in ("direct", "exchange") and "threshold" not in parameters:
        texts = parameters["target"], parameters["neutral"]
        values[form.directions.threshold] = None if "keep" in parameters else session.thresholds.get(texts)
    for panel in form.galleries:
        kind = panel.kind
        if method == kind.method:
            names, chosen = [*kind.titles(studio), *kind.shelf(session).files], parameters[kind.name]
            values[panel.gallery] = gr.update(selected_index=names.index(chosen) if chosen in names else None)
    if method in ("optimize", "generate"):
        values[form.optimization.start] = NO_FACE if method == "generate" else THIS_FACE
    return values


def wished(form: Form, studio: StyleCLIP, pairs: tuple[Pair, ...], session: Session, wish: Wish) -> Updates:
    """What a visitor said, and its pair of texts for a global direction with the α that suits it."""
    alpha = next((pair.strength for pair in pairs if (pair.neutral, pair.target) == (wish.neutral, wish.target)), None)
    return {
        form.text: wish.said,
        form.directions.texts.target: wish.target,
        form.directions.texts.neutral: wish.neutral,
        form.directions.threshold: session.thresholds.get((wish.target, wish.neutral)),
        form.directions.channels: studio.family.defaults.channels,
        form.directions.strength: studio.family.defaults.strength if alpha is None else alpha,
    }


def left_behind(form: Form, session: Session) -> Updates:
    """The fields of an optimization that the loading of the page has ended, and what is said of it; nothing where none
    ran. Tells it once, and lets the run end."""
    if session.run is None:
        return {}
    run, note = session.run, broken_off(session)
    session.run, session.stop = None, True
    fields = form.fields["optimize"] | {"start": form.optimization.start}
    values = run | {"start": NO_FACE if run["method"] == "generate" else THIS_FACE}
    filled = {field: values[name] for name, field in fields.items()}
    shown = {form.methods: gr.update(open=True), form.tabs: gr.update(selected=TABS["optimize"])}
    return filled | shown | {form.optimization.note: note}
