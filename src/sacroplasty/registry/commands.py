"""`sacroplasty registry ...`: patients and procedures, follow-up, exchange, figures, literature.

Libraries are loaded inside the verbs, so that `--help` stays quick.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sacroplasty.registry.record import Record

registry_app = typer.Typer(
    name="registry",
    no_args_is_help=True,
    help="Patients, procedures and follow-ups over years: record, share, analyse.",
)
PlaceOption = Annotated[
    str, typer.Option("--registry", help="SQLite file or database URL.", envvar="SACROPLASTY_REGISTRY")
]
DEFAULT_PLACE = "registry.sqlite"
FormatOption = Annotated[str, typer.Option("--format", help="json, csv, fhir or redcap.")]


def _records(place: str) -> list[Record]:
    from sacroplasty.registry import edited, open_registry
    from sacroplasty.registry.record import stored_records

    with edited(open_registry(place)) as session:
        return stored_records(session)


def record_by(place: str, pseudonym: str) -> Record:
    """The record of a patient; InputError where the registry does not know the pseudonym."""
    from sacroplasty.errors import InputError

    found = next((one for one in _records(place) if one["pseudonym"] == pseudonym), None)
    if found is None:
        raise InputError("The registry does not know this patient", got=pseudonym, remedy="See `registry list`")
    return found


@registry_app.command()
def add(
    record: Annotated[Path | None, typer.Argument(help="Record as JSON, as `registry show --json` prints it.")] = None,
    example: Annotated[bool, typer.Option(help="Add the three patients of the source papers.")] = False,
    known: Annotated[str, typer.Option(help="Where a patient is known: refuse, skip or replace.")] = "refuse",
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Add a patient's record, or the examples."""
    from sacroplasty.case import from_json
    from sacroplasty.errors import InputError
    from sacroplasty.registry import edited, example_patients, open_registry
    from sacroplasty.registry.record import add_records, record_of

    if example == (record is not None):
        raise InputError("It is unclear what to add", remedy="Give a JSON file, or --example")
    if record is None:
        records = [record_of(patient) for patient in example_patients()]
    else:
        if not record.is_file():
            raise InputError("There is no such record", got=str(record))
        data = from_json(record.read_text(encoding="utf-8"), record.name)
        records = data if isinstance(data, list) else [data]
    with edited(open_registry(place)) as session:
        changed = add_records(session, records, known=known)
    typer.echo(f"Added {len(changed)} of {len(records)}: {', '.join(changed) or 'none'}")


@registry_app.command(name="list")
def list_patients(place: PlaceOption = DEFAULT_PLACE) -> None:
    """Print one line per patient: pseudonym, age, cause, levels, approach, pain before and after."""
    from sacroplasty.registry.analysis import courses

    records = _records(place)
    for record in records:
        found = courses([record], with_examples=True)
        episode: dict[str, Any] = next(iter(record["episodes"]), {})
        parts = [record["pseudonym"], f"{episode.get('age_years') or '-'} y", episode.get("cause") or "-",
                 " ".join(episode.get("levels") or ()) or "-"]  # fmt: skip
        if found:
            before, early = found[0].before, found[0].early
            pain = f"NRS {before:g} to {early:g}" if before is not None and early is not None else "pain in words"
            parts += [found[0].approach, pain]
        typer.echo("  ".join(parts))
    typer.echo(f"{len(records)} patients")


@registry_app.command()
def show(
    pseudonym: Annotated[str, typer.Argument()],
    json_output: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Print a record: what is known, and what drove the decision."""
    from sacroplasty.outcome.decision import decision_sentences
    from sacroplasty.registry.analysis import decision_facts
    from sacroplasty.registry.record import without_ids

    record = record_by(place, pseudonym)
    if json_output:
        typer.echo(json.dumps(record, indent=1, ensure_ascii=False))
        return
    _print_facts(without_ids(record), "")
    for episode in record["episodes"]:
        for line in decision_sentences(decision_facts(episode)):
            typer.echo(line)


def _print_facts(data: dict[str, Any], indent: str) -> None:
    for name, value in data.items():
        words = name.replace("_", " ")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for number, item in enumerate(value, start=1):
                typer.echo(f"{indent}{words} {number}")
                _print_facts(item, indent + "  ")
        else:
            typer.echo(f"{indent}{words}: {', '.join(value) if isinstance(value, list) else value}")


@registry_app.command(name="import")
def import_records(
    source: Annotated[Path, typer.Argument(help="File (json, fhir, redcap) or folder (csv, redcap).")],
    form: FormatOption = "json",
    known: Annotated[str, typer.Option(help="Where a patient is known: refuse, skip or replace.")] = "refuse",
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Take in records; either all of them or none."""
    from sacroplasty.registry import edited, open_registry
    from sacroplasty.registry.exchange import read_records
    from sacroplasty.registry.record import add_records

    records = read_records(source, form)
    with edited(open_registry(place)) as session:
        changed = add_records(session, records, known=known)
    typer.echo(f"Imported {len(changed)} of {len(records)} records")


@registry_app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File or folder to make.")],
    form: FormatOption = "json",
    receiver: Annotated[str | None, typer.Option(help="De-identify for this receiver; needs --keys.")] = None,
    keys: Annotated[Path | None, typer.Option(help="Key file that keeps pseudonyms and receivers apart.")] = None,
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Write every record out, as it is or de-identified for one receiver."""
    from sacroplasty.errors import InputError
    from sacroplasty.registry.deidentify import deidentified
    from sacroplasty.registry.exchange import write_records
    from sacroplasty.registry.pseudonyms import PseudonymKeys

    records = _records(place)
    if (receiver is None) != (keys is None):
        raise InputError("De-identified sharing needs a receiver and a key file", remedy="Give --receiver and --keys")
    if receiver is not None and keys is not None:
        shared = deidentified(records, PseudonymKeys(keys).receiver_key(receiver))
        records = list(shared.records)
        typer.echo(
            f"Left out: {', '.join(f'{name} ({count})' for name, count in shared.left_out.items()) or 'nothing'}"
        )
        typer.echo(
            f"{shared.unique_patients} of {len(records)} patients are alone with their age, sex, cause and levels"
        )
    written = write_records(records, out, form)
    typer.echo(f"Wrote {len(records)} records in {len(written)} files to {out}")


@registry_app.command()
def pseudonym(
    identity: Annotated[str, typer.Argument(help="Name and hospital number, or --reverse with a pseudonym.")],
    keys: Annotated[Path, typer.Option(help="Key file, apart from the registry.")],
    reverse: Annotated[bool, typer.Option(help="Print who a pseudonym is.")] = False,
) -> None:
    """Print the pseudonym of a person, made at the first call."""
    from sacroplasty.registry.pseudonyms import PseudonymKeys

    file = PseudonymKeys(keys)
    typer.echo(file.identity_of(identity) if reverse else file.pseudonym_of(identity))


@registry_app.command(name="follow-up")
def follow_up(
    patient: Annotated[str, typer.Argument(metavar="PSEUDONYM")],
    name: Annotated[str, typer.Option(help="Which contact, e.g. '2 weeks'.")],
    day: Annotated[float, typer.Option(help="Days after the procedure.")],
    nrs: Annotated[float | None, typer.Option(help="Pain from 0 to 10.")] = None,
    words: Annotated[str | None, typer.Option(help="Pain in words, where there is no number.")] = None,
    after: Annotated[str, typer.Option(help="Intervention that the score follows.")] = "sacroplasty",
    mode: Annotated[str, typer.Option(help="visit or telephone.")] = "telephone",
    ambulation: Annotated[str | None, typer.Option(help="How the patient walks.")] = None,
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Record one contact with the pain told in it."""
    from sacroplasty.registry import open_registry
    from sacroplasty.registry.follow_up import record_contact

    contact = {"name": name, "day": day, "mode": mode, "ambulation": ambulation}
    record_contact(open_registry(place), patient, contact, nrs=nrs, words=words, after=after)
    typer.echo(f"Recorded {name} of {patient}")


@registry_app.command()
def reminders(
    today: Annotated[str | None, typer.Option(help="Day as YYYY-MM-DD; today where none is given.")] = None,
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Print appointments that are due or overdue."""
    from datetime import date

    from sacroplasty.errors import InputError
    from sacroplasty.registry.reminders import reminders as open_appointments

    try:
        day = date.fromisoformat(today) if today else date.today()
    except ValueError:
        raise InputError("The day cannot be read", got=today or "", remedy="Write it as YYYY-MM-DD") from None
    found = open_appointments(_records(place), day)
    for one in found:
        typer.echo(one.sentence)
    typer.echo(f"{len(found)} open appointments on {day}")


@registry_app.command()
def chart(
    patient: Annotated[str, typer.Argument(metavar="PSEUDONYM")],
    out: Annotated[Path, typer.Option(help="PNG to write.")],
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Draw a patient's pain over time with what counts as better and the published bands."""
    from sacroplasty.io import write_atomically
    from sacroplasty.outcome.chart import ChartPoint, pain_chart

    scores = [score for episode in record_by(place, patient)["episodes"] for score in episode["pain_scores"]]
    points = [ChartPoint(one["day"], one["nrs"], one["after"]) for one in scores if one["nrs"] is not None]
    picture = pain_chart(points, patient)
    write_atomically(out, lambda stream: stream.write(picture))
    typer.echo(f"Wrote {out}")
