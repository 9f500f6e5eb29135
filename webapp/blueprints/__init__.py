"""One noun a module: `pages` answers people at /, `api` programs at /api/v1. app.py finds them by these names."""
