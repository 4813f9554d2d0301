from importlib.metadata import version as version_of

project = "Isthmus"
copyright = "2026, the authors of Isthmus"
version = release = version_of("isthmus")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]

html_theme = "furo"
html_title = f"Isthmus {release}"

autodoc_default_options = {"members": True, "inherited-members": False, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
