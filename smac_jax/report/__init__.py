"""Reports: learning curves across the switch, tables, and a self-contained page."""
