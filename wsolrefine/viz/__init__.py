"""Heatmaps and boxes drawn on images, contact sheets, curves and bars.

matplotlib and Pillow (the extra ``cli``) are imported inside the functions. No
pyplot, so no window, no global figure list, and nothing to close on a machine without a display.
"""

from wsolrefine.viz.curves import plot_bars, plot_curves
from wsolrefine.viz.pictures import draw_boxes, overlay
from wsolrefine.viz.sheets import contact_sheet

__all__ = ["contact_sheet", "draw_boxes", "overlay", "plot_bars", "plot_curves"]
