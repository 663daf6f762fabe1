"""Draws pictures on a card, as `data:` URLs that any page can show."""

from __future__ import annotations

import base64
import re
import warnings
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of the card behind a picture, which makes it readable on any page."""

    card: str
    box: str
    border: str
    accent: str
    ink: str
    faint: str


LIGHT = Theme(card="#f8fafc", box="#ffffff", border="#e2e8f0", accent="#005f9e", ink="#0f172a", faint="#526077")
DARK = Theme(card="#151d29", box="#1b2534", border="#2a3646", accent="#7cc4f2", ink="#e6edf5", faint="#9db0c6")


def picture(width: float, height: float, theme: Theme, paint: Callable[[Any], None], *, has_font: bool = True) -> str:
    """Return what `paint` paints on axes in points from the top left, on a card; the same gives the same bytes.

    With `has_font` the letters come with the picture, which is for few of them; otherwise they come from the reader's
    machine.
    """
    # Half a second and forty megabytes, which only a run with something to draw should pay.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(), warnings.catch_warnings():
        # A user's matplotlibrc must not change it, and the salt makes its ids the same every time.
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "report", "svg.fonttype": "path" if has_font else "none"})
        mpl.rcParams["font.sans-serif"] = ["DejaVu Sans"]
        figure = Figure(figsize=(width / 72, height / 72))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, width), ylim=(height, 0))
        draw_box(axes, (1, 1, width - 2, height - 2), fill=theme.card, line=theme.border, radius=10)
        paint(axes)
        svg = StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        # The reader's fonts have the letters, such as Chinese ones, that the library's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(svg, format="svg", transparent=True, metadata=nothing)
    return f"data:image/svg+xml;base64,{base64.b64encode(_shortened(svg.getvalue()).encode()).decode()}"


def draw_box(
    axes: Any, place: tuple[float, float, float, float], *, fill: str, line: str, radius: float, style: str = "solid"
) -> None:
    """Draw a rounded box at x, y, width and height."""
    # Imported where it is needed, as above.
    from matplotlib.patches import FancyBboxPatch  # noqa: PLC0415

    x, y, width, height = place
    shape = f"round,pad=0,rounding_size={radius}"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, fc=fill, ec=line, lw=1, linestyle=style))


def draw_text(axes: Any, x: float, y: float, text: str, **look: Any) -> None:
    """Write text literally, its middle at a height."""
    axes.text(x, y, text, va="center_baseline", parse_math=False, **look)


def _shortened(svg: str) -> str:
    """Return the same picture in three quarters as many characters."""
    without_comments = re.sub(r"<!--.*?-->|<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    unturned = re.sub(r' transform="rotate\(-0 [\d. ]+\)"', "", without_comments)
    without_glyph_names = re.sub(r'(id="|href="#)DejaVuSans-', r"\1g", unturned)
    return re.sub(r"\s+", " ", re.sub(r">\s+<", "><", without_glyph_names))
