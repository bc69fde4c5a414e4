"""The plots of the report, as image files."""

from tltool.evaluation.plots.confusion_plot import plot_confusion
from tltool.evaluation.plots.history_plot import plot_history

__all__ = ["plot_confusion", "plot_history"]
