"""The filmstrip: moments of the newest optimization, from which the visitor can go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline import Edit, Latent
from pipeline.edits import Step
from pipeline.errors import UserError
from pipeline.wishes import Wish
from webapp.history import HistoryItem, StepPreview, small_on_screen
from webapp.model_handle import ModelHandle
from webapp.session import Session

MOMENTS = 10  # on the strip


def is_moment(step: Step) -> bool:
    """Whether the filmstrip keeps this step: every tenth part of the way."""
    return step.index * MOMENTS // step.total > (step.index - 1) * MOMENTS // step.total


def preview_of(step: Step, regions: Sequence[str], wish: Wish | None) -> StepPreview:
    """A step as the filmstrip keeps it."""
    return StepPreview(step.latent, step.edit.recipe, small_on_screen(step.image), tuple(regions), wish)


def film(session: Session) -> list[tuple[str, str]]:
    """Pictures and captions."""
    return [(preview.picture, f"step {preview.recipe['taken']}") for preview in session.previews]


def shown(session: Session) -> int | None:
    """Which moment the current picture is, if it is one."""
    latent = session.current.latent
    moments = enumerate(session.previews)
    return next((number for number, moment in moments if latent in (moment.latent, moment.kept)), None)


def beginning(session: Session, recipe: dict) -> tuple[HistoryItem, Latent]:
    """What an edit was made from, and an item of the strip that it goes behind: that one, or an edit of it.

    Raises UserError when neither is there any more.
    """
    for item in session.strip:
        for latent in (item.latent, item.source):
            if latent is not None and latent.digest() == recipe["source"]:
                return item, latent
    raise UserError("The picture that this optimization began with has left the strip; please run it again.")


def finished(
    studio: ModelHandle, source: Latent, edit: Edit, regions: Sequence[str], wish: Wish | None
) -> tuple[Edit, Latent]:
    """What a run has reached, held to the regions, as strong as the wish says, and drawn; and its latent at full
    strength."""
    whole = studio.within(source, edit, regions)
    edit = studio.adjust(source, whole, wish.share) if wish else whole
    edit.draw()
    return edit, whole.latent


def note_kept(session: Session, step: Latent, item: HistoryItem) -> None:
    """Note that the step with this latent is on the strip, and show it on the film as it is there."""
    there = {"kept": item.latent, "picture": item.thumbnail}
    session.previews = [replace(p, **there) if p.latent is step else p for p in session.previews]
