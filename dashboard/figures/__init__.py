"""Figures as data and description: each module turns datasets of a run into one figure for page, notebook and paper."""
