"""One noun a module: `pages` answers people at /, `api` answers programs at /api/v1. app.py finds them by these names."""
