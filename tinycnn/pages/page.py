"""One HTML file out of a template, a style, scripts and data: it needs no server, no network, and no other file.

The scripts in web/ are ES modules, which a single file cannot import from each other. So they are laid one after the other, those that are imported first, each as a
function that is called at once and gives what the module exports: `import { text } from "./numbers.js"` becomes `const { text } = numbers`.
"""
import base64
import html
import json
import re
from pathlib import Path

import numpy as np

from ..train.files import replacing

FOLDER = Path(__file__).parent / "web"
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:class|const|function) (\w+)", re.MULTILINE)


def write(path, page):
    """Write a page: what the modules beside this one give, see `render`. Returns the path."""
    return put(path, render(page))


def put(path, text):
    """Write the text of a page, whole or not at all. Returns the path."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"explain: there is no folder {str(path.parent)!r} to write {path.name!r} to")
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def render(page):
    """The HTML of a page: a dict of

    kind, title, formula (HTML)     which script, the heading, and the line below it
    facts                           (columns, rows) of a table of remarks; each row begins with what it is about
    source                          (path, number of the first line, text) of the reference kernel
    origin                          where the numbers come from, for the last line
    and whatever else the script of this kind reads; arrays through `pack`.
    """
    from .. import __version__
    path, first, source = page["source"]
    parts = {
        "title": html.escape(page["title"]), "formula": page["formula"], "facts": _facts(*page["facts"]), "path": html.escape(path), "source": _numbered(source, first),
        "version": __version__, "origin": html.escape(page.get("origin", "")), "style": style("style.css"), "script": script(),
        "data": json.dumps({key: value for key, value in page.items() if key not in ("formula", "facts", "source", "origin")}).replace("<", "\\u003c"),
    }
    return filled("template.html", parts)


def filled(template, parts):
    """A template with {{name}} replaced by parts["name"]."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], (FOLDER / template).read_text(encoding="utf-8"))


def pack(array):
    """An array for a page: its shape, and its numbers as float32 in base64."""
    return {"shape": list(array.shape), "base64": base64.b64encode(np.ascontiguousarray(array, "<f4")).decode()}


def style(*names):
    """Style sheets, one after the other."""
    return "".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def script(name="start", done=None):
    """The script called `name` after those that it imports, each once and each as a constant that holds what it exports."""
    done = set() if done is None else done
    if name in done:
        return ""
    done.add(name)
    text = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
    before = "".join(script(imported, done) for _, imported in IMPORT.findall(text))
    exported = ", ".join(EXPORT.findall(text))
    text = EXPORT.sub(lambda match: match[0].removeprefix("export "), IMPORT.sub(r"const {\1} = \2;", text))
    return f"{before}const {name} = (() => {{\n{text}return {{ {exported} }};\n}})();\n"


def _facts(columns, rows):
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f'<tr><th scope="row">{html.escape(name)}</th>' + "".join(f'<td data-column="{html.escape(column)}">{html.escape(cell)}</td>'
                                                                               for column, cell in zip(columns, cells)) + "</tr>" for name, *cells in rows)
    return f'<section class="facts scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></section>' if rows else ""


def _numbered(source, first):
    return "".join(f'<span id="L{number}" data-line="{number}">{html.escape(line) or " "}</span>' for number, line in enumerate(source.splitlines(), first))
