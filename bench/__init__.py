"""Speed as ratios against bare probes in the same run: `make bench`, or `python -m bench me list` for some rows.

Every row starts real servers on free ports and stops them. Compare ratios and CPU time.
"""
