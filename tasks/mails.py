"""Mails on their way."""

from tasks.actors import Result, job
from tasks.letters import render_letter
from webapp.services import digests, mails
from webapp.services.jobs import StartedJob


@job("mails.send")
def send_mail(started: StartedJob) -> Result:
    order = mails.read_order(started)
    letter = render_letter(order)
    return mails.post_mail(started, order.to, letter.subject, letter.text, letter.html)


@job("mails.digest")
def send_digests(started: StartedJob) -> Result:
    return {**digests.send_digests(started)}
