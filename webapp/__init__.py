"""Holdfast: a file vault with user administration and job operations.

app.py wires everything; a noun (folders, files, jobs …) has one file of its name in models/, services/ and blueprints/.
Below blueprints/ nothing knows of requests, below tasks/ nothing knows of a broker. README.md has the picture.
"""
