import re
from importlib.metadata import version as version_of
from typing import Any

project = "Isthmus"
copyright = "2026, the authors of Isthmus"
version = release = version_of("isthmus")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"Isthmus {release}"

autodoc_default_options = {  # scikit-learn gives its estimators set_fit_request, with links into its own pages
    "members": True,
    "show-inheritance": True,
    "exclude-members": "set_fit_request, set_score_request",
}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
napoleon_use_ivar = True

# Docstrings are written for the eye: latent_dim_ is a name and |z| is a size, not a link and a substitution.
LITERAL = re.compile(r"(``.*?``|`.*?`)")
MARKUP = re.compile(r"(?<=\w)_(?!\w)|[*|]")


def as_written(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape what reStructuredText would take for markup, outside of literals and examples."""
    indent_of_block: int | None = None
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if indent_of_block is not None and line.strip() and indent <= indent_of_block:
            indent_of_block = None
        if indent_of_block is None and not line.lstrip().startswith((">>>", "...")):
            pieces = LITERAL.split(line)
            pieces[::2] = [MARKUP.sub(r"\\\g<0>", piece) for piece in pieces[::2]]
            lines[i] = "".join(pieces)
            if line.rstrip().endswith("::"):
                indent_of_block = indent


def setup(app: Any) -> None:
    """Before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", as_written, priority=400)
