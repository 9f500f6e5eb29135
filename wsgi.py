"""The application for a server: `granian --interface wsgi wsgi:app`. Without a broker it also runs the jobs."""

import gc
import os
import sys
from functools import partial

from webapp.app import create_app
from webapp.config import ConfigurationError, current_settings
from webapp.http.streams import hub_of
from webapp.infra.endings import at_end, at_stop
from webapp.infra.ids import refuse_other_hosts
from webapp.infra.pulse import leave, live_as
from webapp.services.health import watch_job_threads
from webapp.services.keys import refuse_lost_keys

try:
    app = create_app()
    with app.app_context():
        refuse_other_hosts()
        if not os.environ.get("FLASK_RUN_FROM_CLI"):  # `flask keys status` is wanted just then
            refuse_lost_keys()
except ConfigurationError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(2)

at_stop(lambda: hub_of(app).close())  # open streams would hold up the stop
gc.collect()
gc.freeze()  # what is here now stays: collections need not look at it again
gc.set_threshold(10_000, 20, 50)
settings = current_settings()
if not os.environ.get("FLASK_RUN_FROM_CLI"):
    live_as(app, "web" if settings.rabbitmq_url else "embedded", settings.threads)
    at_end(partial(leave, app))
    if settings.rabbitmq_url is None:
        from tasks import embedded

        runtime = embedded.start(app)
        watch_job_threads(relay=runtime.thread.is_alive, worker=runtime.works)
