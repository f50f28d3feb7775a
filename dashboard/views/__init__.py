"""Figures, results and the selection put together: the pages of the dashboard."""
