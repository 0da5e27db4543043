"""A document as one self-contained HTML file: no script, no outside resource, readable in print."""

from __future__ import annotations

import base64

from jinja2 import Environment

from sacroplasty import NOT_FOR_CLINICAL_USE
from sacroplasty.report.document import Block, Document, Figure, Paragraph, Remark, Table

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ document.title }}</title>
<style>
:root { --ink: #1c2733; --quiet: #5b6875; --line: #d5dce3; --back: #ffffff; --soft: #f4f6f8; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, "Noto Sans", sans-serif; color: var(--ink); background: var(--soft); margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 32px 48px; background: var(--back); }
h1 { font-size: 28px; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 36px 0 10px; border-bottom: 2px solid var(--line); }
.subtitle { color: var(--quiet); margin: 0 0 12px; }
.banner { background: #5a1e1e; color: #fff; padding: 8px 32px; font-weight: 600; text-align: center; }
table { border-collapse: collapse; margin: 12px 0; width: 100%; font-size: 15px; }
caption { text-align: left; color: var(--quiet); padding-bottom: 4px; }
th, td { text-align: left; padding: 5px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { background: var(--soft); } th[scope=row] { width: 30%; font-weight: 500; }
.remark { border-left: 6px solid; padding: 6px 12px; margin: 8px 0; background: var(--soft); }
.info { border-color: #4477aa; } .caution { border-color: #ddaa33; }
.warning { border-color: #cc5500; } .blocker { border-color: #aa1133; }
.remark b { text-transform: uppercase; font-size: 13px; letter-spacing: .04em; }
.figures { display: flex; flex-wrap: wrap; gap: 16px; }
figure { margin: 8px 0; } figure img { width: 100%; height: auto; display: block; border: 1px solid var(--line); }
figcaption { color: var(--quiet); font-size: 14px; padding-top: 4px; }
footer { margin-top: 40px; color: var(--quiet); font-size: 13px; white-space: pre-line; }
@media print { body { background: #fff; } main { padding: 0; }
h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
</style></head><body>
<div class="banner">{{ warning }}</div>
<main>
<h1>{{ document.title }}</h1>
<p class="subtitle">{{ document.subtitle }}</p>
{% if document.facts %}<table><tbody>{% for name, value in document.facts.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}</tbody></table>{% endif %}
{% for section in document.sections %}<section><h2>{{ section.title }}</h2>
{% for run in runs(section.blocks) %}{% if run.figures %}<div class="figures">{% for figure in run.figures %}
<figure style="width: calc({{ (100 * figure.width) | round(1) }}% - 16px)">
<img alt="{{ figure.caption }}" src="data:image/png;base64,{{ encoded(figure.png) }}">
<figcaption>{{ figure.caption }}</figcaption></figure>{% endfor %}</div>
{% elif run.remark %}<div class="remark {{ run.remark.severity.value }}"><b>{{ run.remark.severity.value }}</b>
{{ run.remark.text }}</div>
{% elif run.table %}<table>{% if run.table.caption %}<caption>{{ run.table.caption }}</caption>{% endif %}
<thead><tr>{% for cell in run.table.header %}<th scope="col">{{ cell }}</th>{% endfor %}</tr></thead><tbody>
{% for row in run.table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
{% else %}<p>{{ run.text }}</p>
{% endif %}{% endfor %}</section>{% endfor %}
<footer>{{ document.footer }}</footer>
</main></body></html>
"""


def _runs(blocks: tuple[Block, ...]) -> list[dict[str, object]]:
    """Blocks with neighbouring figures put side by side."""
    runs: list[dict[str, object]] = []
    for block in blocks:
        if isinstance(block, Figure):
            last = runs[-1].get("figures") if runs else None
            if isinstance(last, list):
                last.append(block)
            else:
                runs.append({"figures": [block]})
        elif isinstance(block, Remark):
            runs.append({"remark": block})
        elif isinstance(block, Table):
            runs.append({"table": block})
        elif isinstance(block, Paragraph):
            runs.append({"text": block.text})
    return runs


def to_html(document: Document) -> str:
    """The document as HTML text; every word from outside is escaped."""
    template = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    return template.render(
        document=document,
        warning=NOT_FOR_CLINICAL_USE,
        runs=_runs,
        encoded=lambda png: base64.b64encode(png).decode("ascii"),
    )
