"""A person at the vault, in headless Chromium: everything here goes through a real server."""
