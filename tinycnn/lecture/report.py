"""How an answer is shown: as text, as a PNG, and as an HTML page with the same numbers."""
import html
from pathlib import Path
from textwrap import fill

from ..train.files import replacing
from .plots import save


def introduction(number, name, claim):
    """What is claimed."""
    return f"{number}. {name}: {claim.TITLE}\n\n{wrapped('slides: ', claim.SLIDES)}\n{wrapped('paper:  ', claim.PAPER)}\n"


def conclusion(report):
    """The table and what it means."""
    second = ["", *aligned(*report.second)] if report.second else []
    lines = [*aligned(report.header, report.table), *second, "", wrapped("verdict: ", f"{report.verdict}. {report.words}")]
    if report.different:
        lines += ["different from the paper:", *(wrapped("  - ", sentence) for sentence in report.different)]
    return "\n".join(lines)


def wrapped(label, text):
    """Lines of text with a label before the first."""
    return fill(text, 110, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False)


def aligned(header, table):
    """The lines of a table; the first column is text, the others stand to the right."""
    widths = [max(len(row[i]) for row in (header, *table)) for i in range(len(header))]
    lines = ["  ".join(text.rjust(width) if i else text.ljust(width) for i, (text, width) in enumerate(zip(row, widths))).rstrip() for row in (header, *table)]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def write(folder, number, name, claim, rows, report):
    """plot.png and report.html in `folder`."""
    save(Path(folder) / "plot.png", lambda figure: claim.draw(figure, rows))
    with replacing(Path(folder) / "report.html") as part:
        part.write_text(page(number, name, claim, report), encoding="utf-8")


STYLE = """body { font: 17px/1.5 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em } img { max-width: 100% } blockquote { color: #444 }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .2em .8em; border-bottom: 1px solid #ccc; text-align: right } td { white-space: nowrap }
th:first-child, td:first-child { text-align: left }"""


def page(number, name, claim, report):
    """The HTML page; its plot is the file beside it."""
    def row(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
    tables = "\n".join(f"<table>\n{row(header, 'th')}\n{lines}\n</table>" for header, lines in (
        (header, "\n".join(row(cells, "td") for cells in table)) for header, table in ((report.header, report.table), *filter(None, [report.second]))))
    different = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in report.different)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(name)}</title><style>{STYLE}</style>
<h1>{number}. {html.escape(claim.TITLE)}</h1>
<blockquote>The slides: {html.escape(claim.SLIDES)}</blockquote>
<blockquote>The paper: {html.escape(claim.PAPER)}</blockquote>
<p><b>{html.escape(report.verdict.capitalize())}.</b> {html.escape(report.words)}</p>
{tables}
<p><img src="plot.png" alt="plot"></p>
{f"<p>Different from the paper:</p><ul>{different}</ul>" if different else ""}
<p>Raw results: <a href="results.jsonl">results.jsonl</a>. Made by <code>tinycnn lecture {html.escape(name)}</code>.</p>
</html>
"""
