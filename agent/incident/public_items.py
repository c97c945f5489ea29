"""What an incident file holds, as it would be in a public one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.layout import NOT_PUBLIC, Header, LeftOut, LogsPart, Manifest
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.reader import Item, RecordedSample, UnknownPart
from dsray_inspect.agent.incident.recorders import RecordersPart
from dsray_inspect.agent.model import Verdict


def public_items(items: Iterator[Item], publisher: Publisher) -> Iterator[Item]:
    """Yield items with other names, and none of those that may hold anything.

    What a public file holds is public already.
    """
    is_public = False

    for item in items:
        is_public = is_public or (isinstance(item, Header) and item.public)
        published = item if is_public else _published(item, publisher)

        if published is not None:
            yield published


def _published(item: Item, publisher: Publisher) -> Item | None:
    if isinstance(item, Header):
        return msgspec.structs.replace(item, public=True, hint=publisher.hint)

    if isinstance(item, RecordedSample):
        return RecordedSample(
            observation=publisher.observation(item.observation),
            start=None if item.start is None else publisher.start(item.start),
            verdict=_verdict(item.verdict, publisher),
        )

    if isinstance(item, History):
        return publisher.history(item)

    if isinstance(item, Manifest):
        return _manifest(item, publisher)

    return None if isinstance(item, (Diagnosis, LogsPart, RecordersPart, UnknownPart)) else item


def _verdict(verdict: Verdict, publisher: Publisher) -> Verdict:
    return msgspec.structs.replace(verdict, summary=publisher.text(verdict.summary))


def _manifest(manifest: Manifest, publisher: Publisher) -> Manifest:
    """Return the manifest, which comes after all that has names."""
    known = tuple(
        LeftOut(what=publisher.text(one.what), why=publisher.text(one.why))
        for one in manifest.left_out
    )
    return msgspec.structs.replace(
        manifest,
        public=True,
        job=publisher.text(manifest.job),
        verdicts=(),
        versions=(),
        left_out=(*known, *NOT_PUBLIC, *publisher.left_out()),
        redacted=(),
        replaced=publisher.replaced(),
    )
