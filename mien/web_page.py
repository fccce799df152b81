"""The frame of the pages that commands leave: no scripts, nothing from elsewhere, light or dark."""

from __future__ import annotations

import html

_STYLE = """
:root { color-scheme: light dark; --ground: #f7f6f2; --card: #fffefb; --ink: #1f2327;
  --soft: #5b626b; --line: #e0ddd4; --accent: #0c665c; --tint: #e0eeea }
@media (prefers-color-scheme: dark) { :root { --ground: #131618; --card: #1b1f22; --ink: #eceae4;
  --soft: #a4abb2; --line: #2d3338; --accent: #74d3c5; --tint: #1d3431 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 78rem; padding: 2rem 1.25rem 4rem; background: var(--ground);
  color: var(--ink);
  font: 16px/1.5 Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
h1 { font-size: 1.9rem; letter-spacing: -.022em; line-height: 1.2; margin: 0 0 .5rem }
h2 { font-size: 1.15rem; letter-spacing: -.012em; margin: 2.25rem 0 .75rem;
  overflow-wrap: anywhere }
a { color: var(--accent) }
p, small { color: var(--soft); overflow-wrap: anywhere }
code { background: var(--tint); border-radius: 6px; padding: .1rem .35rem }
nav { display: flex; flex-wrap: wrap; gap: .4rem }
nav a { display: flex; gap: .5rem; padding: .5rem .9rem; border: 1px solid var(--line);
  border-radius: 99px; background: var(--card); color: inherit; text-decoration: none }
.photos { display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 14rem), 1fr)) }
figure { margin: 0; min-width: 0 }
figure img { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; object-position: 50% 25%;
  border-radius: 12px; display: block }
figcaption { padding-top: .35rem; font-size: .9rem; overflow-wrap: anywhere }
figcaption small { display: block }
section { background: var(--card); border: 1px solid var(--line); border-radius: 18px;
  padding: 1.1rem 1.25rem; margin-top: 1rem }
section h2 { margin: 0 }
section p { margin: .2rem 0 .8rem }
section img { max-width: 100%; border-radius: 12px; display: block }
"""


def web_page(title: str, body: str) -> bytes:
    """A page around what its body holds, which is HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n</html>\n"
    ).encode()
