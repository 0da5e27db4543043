"""The report's part on fluoroscopy: the planned views, what can be told apart in each, the rehearsal, the dose."""

from __future__ import annotations

from collections.abc import Sequence

from sacroplasty.case import Case
from sacroplasty.fluoroscopy import Radiograph, Seen, console_angles, estimated_dose, landmark_findings, rehearsal
from sacroplasty.plan import Plan
from sacroplasty.report.document import Block, Paragraph, Remark, Section, Table
from sacroplasty.report.pictures import view_pictures

_SIGNS = {Seen.SEEN: "●", Seen.FAINT: "◐", Seen.NOT_SEEN: "○"}


def fluoroscopy_section(case: Case) -> Section:
    """Pictures of every view, what they show, and the way of the first needle as AP and lateral must show it."""
    blocks: list[Block] = [Remark(f.severity, f.message) for f in landmark_findings(case.views)]
    blocks += [*view_pictures(case), *_view_tables(case.views)]
    plan = case.plan
    if plan is not None:
        blocks += _rehearsal_blocks(case, plan)
        views = tuple(shot.view for shot in case.views)
        blocks.append(Paragraph(estimated_dose(views, len(plan.needles)).sentence))
    return Section("Fluoroscopy: what each view should show (simulated)", tuple(blocks))


def _view_tables(shots: Sequence[Radiograph]) -> list[Block]:
    """Where the machine stands for each view, and what can be told apart in it."""
    angles = []
    for number, shot in enumerate(shots, start=1):
        primary, secondary = console_angles(shot.view)
        console = f"{round(primary)}° / {round(secondary)}°"
        angles.append((f"{number} {shot.view.name}", shot.view.angles_label, console, shot.purpose))
    tables: list[Block] = [Table(("View", "Detector", "Console shows", "For"), tuple(angles), "Planned views")]
    structures = dict.fromkeys(one.structure for shot in shots for one in shot.visibility)
    if structures:
        grades = [{one.structure: one.seen for one in shot.visibility} for shot in shots]
        rows = tuple(
            (name.replace("_", " "), *(_SIGNS[seen[name]] if name in seen else "" for seen in grades))
            for name in structures
        )
        header = ("Structure", *(str(number) for number in range(1, len(shots) + 1)))
        caption = "What stands out in each view: ● seen, ◐ faint, ○ not seen (simulated; no reader study)"
        tables.append(Table(header, rows, caption))
    return tables


def _rehearsal_blocks(case: Case, plan: Plan) -> list[Block]:
    """The first needle's checkpoints in AP and lateral; none where those two views cannot be reached."""
    views = [shot.view for shot in case.views if shot.view.name.startswith(("AP", "true lateral"))]
    if not views:
        return []
    rows = tuple(
        (stop.name, f"{stop.depth_mm:.0f} mm", ". ".join(stop.shows), stop.breach, stop.action)
        for stop in rehearsal(plan.first, case.require("anatomy"), views)
    )
    header = ("At", "Depth", "What the views must show", "A breach from here", "Then")
    return [Table(header, rows, "Rehearsal of the first needle")]
