"""Tables and named selects, one noun a file. Importing the package loads every table, as migrations need it."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
