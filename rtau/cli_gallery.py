"""`rtau gallery`: who is known, and how that is changed. What is kept is read and written here and nowhere else."""

import contextlib
import datetime
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from rtau.command import ask_passphrase, known_errors
from rtau.errors import GalleryError

_DEFAULT = "people.db"


class _Place(NamedTuple):
    """Which gallery, and what opens it."""

    path: Path
    key: Path | None


def _on_gallery(command: Callable[..., None]) -> Callable[..., None]:
    """A command that works on a gallery: --gallery, --key and --passphrase become its first argument."""

    @click.option(
        "--gallery",
        "path",
        type=click.Path(path_type=Path),
        default=_DEFAULT,
        envvar="RTAU_GALLERY",
        show_default=True,
        metavar="FILE",
        help="The gallery; also $RTAU_GALLERY.",
    )
    @click.option(
        "--key",
        type=click.Path(path_type=Path),
        envvar="RTAU_GALLERY_KEY",
        metavar="FILE",
        help="Its key file; also $RTAU_GALLERY_KEY.  [default: the user's own]",
    )
    @click.option("--passphrase", is_flag=True, help="Ask for a passphrase instead; also $RTAU_GALLERY_PASSPHRASE.")
    @functools.wraps(command)
    def on_place(*, path: Path, key: Path | None, passphrase: bool, **others: object) -> None:
        if passphrase:
            with known_errors():
                ask_passphrase(path, key)
        command(_Place(path, key), **others)

    return on_place


@click.group()
def gallery() -> None:
    """The persons that rtau recognises. Without --gallery nothing else of rtau looks at them."""


@gallery.command("list")
@_on_gallery
def list_persons(place: _Place) -> None:
    """Name everybody."""
    from rtau.gallery import open_gallery

    with _working(), open_gallery(place.path, place.key, None) as opened:
        for person in opened.persons():
            click.echo(person.name)


@gallery.command()
@click.argument("name")
@_on_gallery
def show(place: _Place, name: str) -> None:
    """Say all that is kept of NAME."""
    from rtau.gallery import open_gallery

    with _working(), open_gallery(place.path, place.key, None) as opened:
        person = next((each for each in opened.persons() if each.name == name), None)
        if person is None:
            raise GalleryError(f"{place.path}: {name} is not in it; `rtau gallery list` says who is")
        click.echo(f"name        {person.name}")
        click.echo(f"clips       {len(person.embeddings)}: {', '.join(person.enrolled)}")
        click.echo(f"embeddings  {person.matrix().shape[1]} numbers each, identity model {opened.identity_model[:8]}")
        if person.neutral is None:
            click.echo("baseline    none")
            return
        kept = person.neutral
        click.echo(f"baseline    {kept.evidence:.0f} calm looks, AU model {kept.au_model[:8]}")
        for au, left, right in zip(kept.aus, kept.left, kept.right, strict=True):
            click.echo(f"  {au}      {left:.2f} left, {right:.2f} right")


@gallery.command()
@click.argument("name")
@click.argument("clip")
@click.option("--start", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Begin here.")
@click.option("--end", type=click.FloatRange(0), metavar="SECONDS", help="Stop before here.")
@click.option("--no-baseline", is_flag=True, help="Keep who it is, not the resting face: CLIP is not calm.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of the pipeline.")
@_on_gallery
def enroll(
    place: _Place, name: str, clip: str, start: float, end: float | None, no_baseline: bool, config: Path | None
) -> None:
    """Learn who NAME is, and how the face rests, from CLIP: some calm seconds of one person, or a photo.

    A further clip of the same person adds to what is known.
    """
    from calibration.gallery import Index
    from calibration.profile import Profile, check_name, to_bytes
    from rtau.config import SourceConfig, load_config
    from rtau.enrol import enrol
    from rtau.gallery import open_gallery
    from rtau.identify import load_identity

    with _working():
        check_name(name)
        run = load_config(config)
        model = load_identity(run.persons.identity)
        open_gallery(place.path, place.key, model.artifact.card.sha256, create=True).close()  # before the long work
        found = enrol(run, SourceConfig(path=clip, start_s=start, end_s=end))
        neutral, day = None if no_baseline else found.neutral, datetime.date.today().isoformat()

        def add(before: Profile | None) -> Profile:
            if before is not None:
                return before.with_clip(found.embedding, day, neutral)
            return Profile(name=name, embeddings=(to_bytes(found.embedding),), enrolled=(day,), neutral=neutral)

        with open_gallery(place.path, place.key, found.identity_model) as opened:
            others = [person for person in opened.persons() if person.name != name]
            person = opened.update(name, add)
    click.echo(f"{name}: {found.looks} views, clip {len(person.embeddings)} of {name}; kept in {place.path}")
    if neutral is not None and found.level is not None:
        click.echo(f"baseline from {found.level.looks:.0f} calm looks, confidence {found.level.confidence:.2f}")
    elif not no_baseline:
        click.echo(
            "no baseline: the clip shows too little of the resting face; some more calm seconds would do", err=True
        )
    alike = Index(others).cosines(found.embedding)
    if len(alike) and alike.max() >= model.accept:
        other = others[int(alike.argmax())].name
        click.echo(
            f"{name} looks like {other} (cosine {alike.max():.2f}): if they are one person, "
            f"`rtau gallery merge {other} {name}`; if not, neither may be recognised",
            err=True,
        )


@gallery.command()
@click.argument("name")
@click.argument("new")
@_on_gallery
def rename(place: _Place, name: str, new: str) -> None:
    """Call NAME by the name NEW."""
    from calibration.profile import check_name
    from rtau.gallery import open_gallery

    with _working(), open_gallery(place.path, place.key, None) as opened:
        check_name(new)
        opened.rename(name, new)


@gallery.command()
@click.argument("name")
@click.argument("other")
@_on_gallery
def merge(place: _Place, name: str, other: str) -> None:
    """NAME and OTHER are one person: keep both under NAME."""
    from rtau.gallery import open_gallery

    with _working(), open_gallery(place.path, place.key, None) as opened:
        person = opened.merge(name, other)
    click.echo(f"{name}: {len(person.embeddings)} clips")


@gallery.command()
@click.argument("name")
@_on_gallery
def forget(place: _Place, name: str) -> None:
    """Delete all that is kept of NAME; a stream that runs stops naming the person at once."""
    from rtau.gallery import open_gallery

    with _working(), open_gallery(place.path, place.key, None) as opened:
        opened.forget(name)
    click.echo(f"{name} is forgotten; copies and exports that you made are not")


@gallery.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@_on_gallery
def export_persons(place: _Place, file: Path, names: tuple[str, ...], overwrite: bool) -> None:
    """Write NAMES, or everybody, to FILE as JSON that anybody can read (mode 600)."""
    from calibration.profile import Export, to_json
    from rtau.gallery import open_gallery

    with _working(), open_gallery(place.path, place.key, None) as opened:
        persons = {person.name: person for person in opened.persons()}
        missing = [name for name in names if name not in persons]
        if missing:
            raise GalleryError(f"{place.path}: {', '.join(missing)}: not in it; `rtau gallery list` says who is")
        chosen = [persons[name] for name in names or persons]
        _write_private(file, to_json(Export(identity_model=opened.identity_model, persons=chosen)), overwrite=overwrite)
    click.echo(f"{len(chosen)} persons in {file}, not sealed: delete it when it has arrived", err=True)


@gallery.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_on_gallery
def import_persons(place: _Place, file: Path) -> None:
    """Put the persons of an export into the gallery, all or none."""
    from calibration.profile import from_json
    from rtau.gallery import open_gallery

    with _working():
        try:
            export = from_json(file.read_bytes())
        except OSError as error:
            raise GalleryError(f"{file}: {error.strerror}; name a file of rtau gallery export") from error
        with open_gallery(place.path, place.key, export.identity_model, create=True) as opened:
            opened.add(export.persons)
    click.echo(f"{len(export.persons)} persons imported")


def _write_private(path: Path, data: bytes, *, overwrite: bool) -> None:
    """A file that nobody else may read, not even for a moment, whole or not there."""
    from rtau.sinks.output import OutputFile, check_output

    check_output(path, (path.suffix,), "", overwrite=overwrite)
    file = OutputFile(path)
    with file.writing():
        file.temporary.chmod(0o600)
        file.temporary.write_bytes(data)
    file.seal()
    file.publish()


@contextlib.contextmanager
def _working() -> Iterator[None]:
    """Known errors of both kinds as one line."""
    from rtau.gallery import gallery_errors

    with known_errors(), gallery_errors():
        yield


COMMANDS = (gallery,)
