"""The `sacroplasty` command: one verb per stage, generated from workflow.STAGES, and the verbs around them."""

from __future__ import annotations

import dataclasses
import functools
import inspect as inspection
import json
import sys
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from sacroplasty import NOT_FOR_CLINICAL_USE, __version__
from sacroplasty.cohort.verbs import cohort, follow, trial
from sacroplasty.errors import SacroplastyError
from sacroplasty.registry.commands import DEFAULT_PLACE, PlaceOption, record_by
from sacroplasty.registry.meta_commands import registry_app
from sacroplasty.workflow import STAGES, FactsParameters, Progress, ReadParameters, Stage, repeated

app = typer.Typer(
    name="sacroplasty",
    help=f"Plan, rehearse, guide, check and follow up percutaneous sacroplasty.\n\n{NOT_FOR_CLINICAL_USE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
CaseArgument = Annotated[Path, typer.Argument(metavar="CASE", help="Case folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
DEMO_CASES = ("zhang-1", "zhang-2", "yeo")


def main() -> None:
    """Run the command; a refusal prints one sentence and exits with code 2."""
    try:
        app()
    except SacroplastyError as error:
        _refuse(f"{error.code} {error.sentence}")
    except OSError as error:
        _refuse(f"SAC-E900 The file system refused: {error.strerror or error}; got {error.filename or 'no file name'}.")
    except MemoryError:
        _refuse("SAC-E901 The memory is exhausted. Crop the CT to the pelvis, or use a machine with more memory.")


def _refuse(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    sys.exit(2)


def _say(message: str) -> None:
    print(message, file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, one line per step elsewhere; always on standard error."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def line(fraction: float, message: str) -> None:
            if message not in seen:
                seen.add(message)
                _say(f"{100 * fraction:3.0f} %  {message}")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(bar_width=30), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn(),
               TextColumn("{task.description}"))  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda fraction, message: bar.update(task, completed=fraction, description=message)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sacroplasty {__version__}. {NOT_FOR_CLINICAL_USE}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print version.")
    ] = False,
) -> None:
    """Options of the command itself."""


def _option_type(kind: Any) -> Any:
    """The type typer understands for a parameter's type hint."""
    if (each := repeated(kind)) is not None:
        return list[each]  # type: ignore[valid-type]
    arguments = [one for one in typing.get_args(kind) if one is not type(None)]
    if isinstance(kind, types.UnionType) and len(arguments) == 1:
        return arguments[0] | None
    return kind


def _parameters(kind: type, *, in_run: bool = False) -> dict[str, inspection.Parameter]:
    """Command-line options of a stage's parameters by field name."""
    hints = typing.get_type_hints(kind)
    options = {}
    for one in dataclasses.fields(kind):
        name = (in_run and one.metadata["in_run"]) or one.name
        flag = f"--{name.replace('_', '-')}"
        annotation: Any = Annotated[_option_type(hints[one.name]), typer.Option(flag, help=one.metadata["help"])]
        default = list(one.default) if isinstance(one.default, tuple) else one.default
        options[one.name] = inspection.Parameter(
            name, inspection.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
    return options


def _value(kind: type, given: dict[str, Any], *, in_run: bool = False) -> Any:
    """Parameters of a kind from what the command line gave."""
    names = {field: option.name for field, option in _parameters(kind, in_run=in_run).items()}
    values = {field: given[name] for field, name in names.items()}
    return kind(**{field: tuple(v) if isinstance(v, list) else v for field, v in values.items()})


def _with_signature(function: Callable[..., None], parameters: list[inspection.Parameter]) -> Callable[..., None]:
    """The function under the signature from which typer makes its options."""

    @functools.wraps(function)
    def verb(**given: Any) -> None:
        function(**given)

    verb.__signature__ = inspection.Signature(parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {one.name: one.annotation for one in parameters}
    return verb


def _stage_verb(stage: Stage) -> Callable[..., None]:
    def run(case: Path, json_output: bool, **given: Any) -> None:
        from sacroplasty.case import CaseFolder
        from sacroplasty.workflow import run_stage

        stored = CaseFolder.open(case)
        with _progress() as progress:
            run_stage(stored, stage.name, _value(stage.parameters, given), progress)
        if json_output:
            print(json.dumps({"case": str(case), "stage": stage.name, "folder": str(case / stage.name)}))
        else:
            _say(f"Stored {case / stage.name}")

    run.__doc__ = stage.help
    keyword = inspection.Parameter.KEYWORD_ONLY
    case = inspection.Parameter("case", keyword, annotation=CaseArgument)
    as_json = inspection.Parameter("json_output", keyword, default=False, annotation=JsonOption)
    return _with_signature(run, [case, *_parameters(stage.parameters).values(), as_json])


def _run_verb() -> Callable[..., None]:
    def run(ct: Path, out: Path, json_output: bool, **given: Any) -> None:
        """Go from a CT to the report: segment, lesion, plan, views, cement, report."""
        from sacroplasty.workflow import create_case, read_facts, run_all, store_facts

        sheet = _value(FactsParameters, given).facts
        facts = read_facts(sheet) if sheet else None
        parameters = {stage.name: _value(stage.parameters, given, in_run=True) for stage in STAGES}
        with _progress() as progress:
            progress(0.0, "Reading the CT")
            stored = create_case(out, ct, _value(ReadParameters, given))
            if facts is not None:
                store_facts(stored, facts)
            case = run_all(stored, parameters, progress)
        _finish(case, out, json_output)

    keyword = inspection.Parameter.KEYWORD_ONLY
    ct_help = "CT: DICOM folder, NIfTI or NRRD."
    ct = inspection.Parameter("ct", keyword, annotation=Annotated[Path, typer.Option("--ct", help=ct_help)])
    out_help = "Case folder to make."
    out = inspection.Parameter("out", keyword, annotation=Annotated[Path, typer.Option("--out", help=out_help)])
    as_json = inspection.Parameter("json_output", keyword, default=False, annotation=JsonOption)
    kinds = (ReadParameters, FactsParameters, *(stage.parameters for stage in STAGES))
    options = [option for kind in kinds for option in _parameters(kind, in_run=True).values()]
    return _with_signature(run, [ct, out, *options, as_json])


def _finish(case: Any, out: Path, json_output: bool) -> None:
    """Say where the report is and what was found, in words or as JSON."""
    from sacroplasty.report import summary

    facts = summary(case)
    if json_output:
        print(json.dumps({"case": str(out), "report": str(out / "report" / "report.html"), **facts}, indent=1))
        return
    for sentence in facts["sentences"]:
        print(sentence)
    print(f"Report: {out / 'report' / 'report.html'}")
    print(NOT_FOR_CLINICAL_USE)


@app.command()
def demo(
    case: Annotated[str, typer.Option(help=f"Which patient of the papers: {', '.join(DEMO_CASES)}.")] = "zhang-1",
    out: Annotated[Path | None, typer.Option(help="Case folder to make; cases/<name> where none is given.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Run the whole job on an embedded digital patient and print where the report is."""
    from sacroplasty.workflow import demo_case

    folder = out or Path("cases") / case
    with _progress() as progress:
        result = demo_case(case, folder, progress)
    _finish(result, folder, json_output)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="DICOM folder or file, NIfTI or NRRD.")],
    json_output: JsonOption = False,
) -> None:
    """Say whether an image's geometry can be trusted: verdict, reason, stacks, corners in LPS mm. Exit code 0 or 2."""
    from sacroplasty.case import encode
    from sacroplasty.io import inspect as inspect_image

    found = inspect_image(path)
    if json_output:
        print(json.dumps(encode(found), indent=1, ensure_ascii=False))
    elif found.rejected:
        _say(f"{found.code} {found.message}")
    else:
        print(found.describe())
    if found.rejected:
        raise typer.Exit(2)


@app.command()
def cite(
    case: Annotated[Path | None, typer.Argument(metavar="CASE", help="Case folder.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print the whole evidence table.")] = False,
) -> None:
    """Print the source of every number that a case used."""
    from sacroplasty.errors import InputError
    from sacroplasty.evidence import evidence_table
    from sacroplasty.report import citations

    if everything:
        keys = tuple(sorted(evidence_table()))
    elif case is not None:
        from sacroplasty.workflow import evidence_of

        keys = evidence_of(case)
    else:
        raise InputError("There is nothing to cite", remedy="Give a case folder, or --all")
    for line in citations(keys):
        print(line)


@app.command()
def suitability(
    case: Annotated[Path | None, typer.Argument(metavar="CASE", help="Case folder.")] = None,
    facts: Annotated[Path | None, typer.Option(help="Sheet of facts about the patient to keep, TOML or JSON.")] = None,
    override: Annotated[str | None, typer.Option(help="Reason to go on against the judgement; recorded.")] = None,
    by: Annotated[str, typer.Option(help="Who decided, with --override: a role or a name.")] = "",
    on: Annotated[str, typer.Option(help="Day of the decision, with --override: YYYY-MM-DD.")] = "",
    template: Annotated[bool, typer.Option("--template", help="Print an empty sheet of facts and end.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Judge whether sacroplasty suits this patient: for, against, to be asked. It documents, it forbids nothing."""
    from sacroplasty.case import CaseFolder, encode
    from sacroplasty.errors import InputError
    from sacroplasty.lesion import Override, empty_sheet
    from sacroplasty.report import describe_suitability
    from sacroplasty.workflow import load_case, overridden, read_facts, store_facts

    if template:
        print(empty_sheet())
        return
    if case is None:
        raise InputError("There is no case to judge", remedy="Give a case folder, or --template")
    stored = CaseFolder.open(case)
    known = load_case(stored)
    known.require("lesions")
    if facts is not None:
        known = dataclasses.replace(known, facts=read_facts(facts))
    if override is not None:
        known = overridden(known, Override(override, by, on))
    if facts is not None or override is not None:
        store_facts(stored, known.facts, known.override)
    found = known.suitability
    assert found is not None  # there is a lesion
    print(json.dumps(encode(found), indent=1) if json_output else "\n".join(describe_suitability(found)))


@app.command()
def export(
    case: CaseArgument,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    to: Annotated[list[str] | None, typer.Option(help="slicer or dicom; may be repeated. Both by default.")] = None,
    source: Annotated[Path | None, typer.Option(help="DICOM series the CT was read from, to refer to it.")] = None,
) -> None:
    """Write a case as a 3D Slicer folder and as DICOM SEG, SR, RTSTRUCT, PDF and pictures for a PACS."""
    from sacroplasty.case import CaseFolder
    from sacroplasty.report import FORMATS, export_case
    from sacroplasty.workflow import load_case

    written = export_case(load_case(CaseFolder.open(case)), out, tuple(to or FORMATS), source=source)
    print(f"Wrote {len(written)} files to {out}")
    print(NOT_FOR_CLINICAL_USE)


@app.command()
def audit(
    case: CaseArgument,
    head: Annotated[str | None, typer.Option(help="Last hash as exported earlier; shows a cut at the end.")] = None,
) -> None:
    """Check the hash-chained trail of decisions, overrides and edits, and print it."""
    from sacroplasty.case import AUDIT, CaseFolder, verify_trail

    CaseFolder.open(case)
    trail = verify_trail(case / AUDIT, head)
    for entry in trail:
        print(f"{entry.number:4d}  {entry.time}  {entry.event}")
    print(f"{len(trail)} entries, unbroken; head {trail[-1].sha256 if trail else 'none'}")


@app.command()
def serve(
    cases: Annotated[Path, typer.Argument(metavar="CASES_DIR", help="Folder of cases; made where there is none.")],
    port: Annotated[int, typer.Option(help="Port on this machine; 0 takes a free one.")] = 0,
    import_folder: Annotated[
        list[Path] | None, typer.Option(help="Folder whose scans may be imported in the page; may be repeated.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only show the cases: nothing is changed, computed or sent.")
    ] = False,
) -> None:
    """Open the workstation in the browser: plan, rehearse, guide and follow up on this machine alone."""
    from sacroplasty.workstation.serve import serve as serve_cases

    folders = {path.name: path.resolve() for path in import_folder or ()}
    serve_cases(cases, port=port, folders=folders, read_only=read_only)


@registry_app.command(name="report")
def registry_report(
    patient: Annotated[str, typer.Argument(metavar="PSEUDONYM")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    case: Annotated[Path | None, typer.Option(help="Case folder whose images become panels A to G.")] = None,
    keys: Annotated[Path | None, typer.Option(help="Key file: its names are searched for in the draft.")] = None,
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Draft a case report in the order of CARE: Markdown, Word and PDF, with panels A to G from a case."""
    from sacroplasty.registry.pseudonyms import PseudonymKeys
    from sacroplasty.report.case_report import write_case_report

    record = record_by(place, patient)
    identities = PseudonymKeys(keys).identities() if keys else ()
    figures: Any = ()
    missing: Any = ()
    if case is not None:
        from sacroplasty.case import CaseFolder
        from sacroplasty.report.case_report_figures import panels
        from sacroplasty.workflow import load_case

        made = panels(load_case(CaseFolder.open(case)))
        figures, missing = made.figures, made.missing
    written = write_case_report(record, out, figures, missing, identities)
    print(f"Wrote {len(written)} files to {out}")
    print(NOT_FOR_CLINICAL_USE)


app.add_typer(registry_app)
app.command(name="run")(_run_verb())
for _stage in STAGES:
    app.command(name=_stage.name)(_stage_verb(_stage))
for _verb in (follow, cohort, trial):
    app.command()(_verb)
